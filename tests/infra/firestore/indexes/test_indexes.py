"""Index definitions: enforced as in production, created on request; exemptions, expiry, versions kept."""

import contextlib
import datetime
import sqlite3
import time
from pathlib import Path

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.firestore import FieldFilter

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import ROOT, FirestoreProcess, write_indexes

COMPOSITE = {
    "collectionGroup": "results",
    "queryScope": "COLLECTION",
    "fields": [{"fieldPath": "shard", "order": "ASCENDING"}, {"fieldPath": "mean", "order": "DESCENDING"}],
}
EXEMPTION = {"collectionGroup": "samples", "fieldPath": "raw", "indexes": []}


@pytest.fixture
def indexes(tmp_path: Path) -> Path:
    """A file of definitions."""
    return write_indexes(tmp_path / "firestore.indexes.json", [COMPOSITE], [EXEMPTION])


def test_a_query_without_its_index_is_refused_with_the_definition_to_add(own: FirestoreProcess, indexes: Path) -> None:
    """The one that is defined serves its query, and no query in the other direction."""
    own.options = ["--indexes", str(indexes)]
    own.start()
    results = own.client().collection("submitters/a/results")
    for number in range(6):
        results.document(str(number)).set({"shard": number % 2, "mean": number, "count": 6 - number})
    sharded = results.where(filter=FieldFilter("shard", "==", 1))

    assert [found.id for found in sharded.order_by("mean", direction="DESCENDING").stream()] == ["5", "3", "1"]
    for missing in ("mean", "count"):
        with pytest.raises(exceptions.FailedPrecondition, match=rf"The query requires an index.*{missing}"):
            list(sharded.order_by(missing).stream())


def test_a_transaction_that_begins_with_a_refused_query_holds_nobody_up(own: FirestoreProcess, indexes: Path) -> None:
    """Its client has not learned its id, and cannot end it."""
    own.options = ["--indexes", str(indexes)]
    own.start()
    request = m.RunQueryRequest(parent=ROOT)
    request.new_transaction.read_write.SetInParent()
    request.structured_query.from_.add(collection_id="results")
    for field in ("count", "mean"):
        request.structured_query.order_by.add().field.field_path = field

    with pytest.raises(grpc.RpcError, match="requires an index"):
        own.stream("RunQuery", request, m.RunQueryResponse)

    own.client().document("results/a").set({"count": 1, "mean": 1}, retry=None, timeout=5)


def test_missing_indexes_are_created_where_that_is_allowed(own: FirestoreProcess, indexes: Path) -> None:
    """The query is answered, and the definition to add is printed."""
    own.options = ["--indexes", str(indexes), "--create-indexes"]
    own.start()
    results = own.client().collection("results")
    for number in range(3):
        results.document(str(number)).set({"shard": 1, "count": 3 - number})

    query = results.where(filter=FieldFilter("shard", "==", 1)).order_by("count")

    assert [found.id for found in query.stream()] == ["2", "1", "0"]
    assert '"fieldPath": "count"' in own.log.read_text()


def test_an_exempted_field_is_not_indexed(own: FirestoreProcess, indexes: Path) -> None:
    """Asking for it is refused; it may hold more elements than a document may have entries."""
    own.options = ["--indexes", str(indexes)]
    own.start()
    samples = own.client().collection("samples")
    samples.document("a").set({"raw": list(range(50_000)), "n": 1})

    assert [found.id for found in samples.where(filter=FieldFilter("n", "==", 1)).stream()] == ["a"]
    with pytest.raises(exceptions.FailedPrecondition, match="requires an index"):
        list(samples.where(filter=FieldFilter("raw", "array_contains", 5)).stream())


def test_definitions_that_change_are_taken_up_at_the_next_start(own: FirestoreProcess, tmp_path: Path) -> None:
    """What was there before is found by the new index, and a lifted exemption holds for it too."""
    path = tmp_path / "firestore.indexes.json"
    own.options = ["--indexes", str(write_indexes(path, [], [EXEMPTION]))]
    own.start()
    own.client().document("results/a").set({"shard": 1, "mean": 2.5})
    own.client().document("samples/a").set({"raw": "x"})
    own.end()

    write_indexes(path, [COMPOSITE], [])
    own.start()

    client = own.client()
    sharded = client.collection("results").where(filter=FieldFilter("shard", "==", 1)).order_by("mean", "DESCENDING")
    assert [found.id for found in sharded.stream()] == ["a"]
    assert len(client.collection("samples").where(filter=FieldFilter("raw", "==", "x")).get()) == 1


RISING, FALLING = (
    {
        "collectionGroup": "results",
        "queryScope": "COLLECTION",
        "fields": [{"fieldPath": field, "order": order} for field in ("shard", "mean")],
    }
    for order in ("ASCENDING", "DESCENDING")
)


def test_an_index_and_its_reverse_share_their_entries_for_as_long_as_either_is_there(
    own: FirestoreProcess, tmp_path: Path
) -> None:
    """Each serves its own direction alone; the last one takes the entries along."""
    path = tmp_path / "firestore.indexes.json"
    own.options = ["--indexes", str(write_indexes(path, [RISING, FALLING], []))]
    own.start()
    for number in range(4):
        own.client().document(f"results/{number}").set({"shard": number % 2, "mean": number})

    def found(direction: str) -> list[str]:
        sharded = own.client().collection("results").where(filter=FieldFilter("shard", "==", 1))
        return [each.id for each in sharded.order_by("mean", direction=direction).stream()]

    assert (found("ASCENDING"), found("DESCENDING")) == (["1", "3"], ["3", "1"])
    assert composite_entries(own) == 4
    own.end()

    write_indexes(path, [FALLING], [])
    own.start()
    own.client().document("results/5").set({"shard": 1, "mean": 5})
    assert found("DESCENDING") == ["5", "3", "1"]
    with pytest.raises(exceptions.FailedPrecondition, match="requires an index"):
        found("ASCENDING")
    own.end()

    write_indexes(path, [], [])
    own.start()
    assert composite_entries(own) == 0


def test_a_file_whose_falling_indexes_have_entries_of_their_own_is_taken_up(
    own: FirestoreProcess, tmp_path: Path
) -> None:
    """As they were kept once: such indexes are built anew."""
    own.options = ["--indexes", str(write_indexes(tmp_path / "firestore.indexes.json", [FALLING], []))]
    own.start()
    for number in range(3):
        own.client().document(f"results/{number}").set({"shard": 1, "mean": number})
    own.end()
    with contextlib.closing(sqlite3.connect(own.data)) as connection:
        connection.execute("ALTER TABLE composites DROP COLUMN entries")
        connection.execute("UPDATE entries SET key = key || x'ff' WHERE key >= x'03'")
        connection.commit()

    own.start()

    sharded = own.client().collection("results").where(filter=FieldFilter("shard", "==", 1))
    assert [each.id for each in sharded.order_by("mean", direction="DESCENDING").stream()] == ["2", "1", "0"]
    assert composite_entries(own) == 3


def composite_entries(firestore: FirestoreProcess) -> int:
    """Return how many entries there are of composite indexes."""
    ((count,),) = firestore.query("SELECT count(*) FROM entries WHERE key >= x'03'")
    return int(count)


def test_a_file_that_defines_nothing_is_refused_in_one_line(own: FirestoreProcess, tmp_path: Path) -> None:
    """The server does not start on definitions that it cannot read."""
    path = tmp_path / "firestore.indexes.json"
    path.write_text('{"indexes": [{"fields": 7}]}')
    own.options = ["--indexes", str(path)]

    with pytest.raises(AssertionError, match=r"is not a valid firestore\.indexes\.json"):
        own.start()


def test_documents_expire_by_the_field_that_is_named(own: FirestoreProcess, tmp_path: Path) -> None:
    """In every collection of the group; listeners are told, others stay."""
    expiry = {"collectionGroup": "sessions", "fieldPath": "expires", "ttl": True}
    path = write_indexes(tmp_path / "firestore.indexes.json", [], [expiry])
    own.options = ["--indexes", str(path)]
    own.start()
    client = own.client()
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    client.document("sessions/old").set({"expires": now - hour})
    client.document("users/a/sessions/old").set({"expires": now - hour})
    client.document("sessions/new").set({"expires": now + hour})
    client.document("sessions/odd").set({"expires": 1})

    deadline = time.monotonic() + 30
    while client.document("users/a/sessions/old").get().exists or client.document("sessions/old").get().exists:
        assert time.monotonic() < deadline
        time.sleep(0.1)

    assert sorted(found.id for found in client.collection("sessions").stream()) == ["new", "odd"]


def test_superseded_versions_are_kept_as_long_as_said_and_no_longer(own: FirestoreProcess) -> None:
    """Then reading back is refused, while what is current stays."""
    own.options = ["--version-retention-seconds", "1"]
    own.start()
    document = own.client().document("versions/a")
    first = document.set({"n": 1}).update_time
    document.set({"n": 2})
    assert document.get(read_time=first).to_dict() == {"n": 1}

    deadline = time.monotonic() + 30
    while own.query("SELECT count(*) FROM versions") != [(1,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(exceptions.FailedPrecondition, match="too old"):
        document.get(read_time=first)
    assert document.get().to_dict() == {"n": 2}
