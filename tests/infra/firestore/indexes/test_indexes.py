"""Index definitions: enforced or created, changed between starts; exemptions, time to live, version retention."""

import contextlib
import datetime
import sqlite3
from pathlib import Path

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.firestore import FieldFilter

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.indexes import definitions
from tests.infra.firestore.server_process import ROOT, FirestoreProcess, convert_to_format_1, write_indexes
from tests.stack import eventually

COMPOSITE = {
    "collectionGroup": "results",
    "queryScope": "COLLECTION",
    "fields": [{"fieldPath": "shard", "order": "ASCENDING"}, {"fieldPath": "mean", "order": "DESCENDING"}],
}
EXEMPTION = {"collectionGroup": "samples", "fieldPath": "raw", "indexes": []}


@pytest.fixture
def indexes(tmp_path: Path) -> Path:
    """A firestore.indexes.json with one composite index and one exemption."""
    return write_indexes(tmp_path / "firestore.indexes.json", [COMPOSITE], [EXEMPTION])


def test_entries_of_composite_indexes_count_towards_the_maximum(own: FirestoreProcess, tmp_path: Path) -> None:
    """Each element of an array has an entry in the index of the array and in the composite index."""
    composite = {
        "collectionGroup": "lists",
        "queryScope": "COLLECTION",
        "fields": [{"fieldPath": "list", "arrayConfig": "CONTAINS"}, {"fieldPath": "n", "order": "ASCENDING"}],
    }
    own.options = ["--indexes", str(write_indexes(tmp_path / "firestore.indexes.json", [composite], []))]
    own.start()
    document = own.client().document("lists/a")

    document.set({"list": list(range(19_999)), "n": 1})  # two entries for `n`
    with pytest.raises(exceptions.InvalidArgument, match="Too many index entries"):
        document.set({"list": list(range(20_000)), "n": 1})


def test_fields_without_an_index_do_not_count_towards_the_maximum(own: FirestoreProcess, tmp_path: Path) -> None:
    """An exemption is the documented way to store a long array."""
    own.options = ["--indexes", str(write_indexes(tmp_path / "firestore.indexes.json", [], [EXEMPTION]))]
    own.start()
    document = own.client().document("samples/a")

    document.set({"list": list(range(40_000)), "raw": list(range(30_000))})
    with pytest.raises(exceptions.InvalidArgument, match="Too many index entries"):
        document.set({"list": list(range(40_001))})


def test_a_query_without_its_index_is_rejected_with_the_definition_to_add(own: FirestoreProcess, indexes: Path) -> None:
    """The defined index serves its query, but no query in the opposite direction."""
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


def test_a_long_field_name_does_not_prevent_an_index(own: FirestoreProcess) -> None:
    """The build reads the path of each stored field. Quotes make this path longer than a path in a request can be."""
    own.start()
    collection = own.client().collection("c")
    for number in range(3):
        collection.document(str(number)).set({"a": number, "b": -number, "-" + "x" * 1499: number})

    found = collection.order_by("a").order_by("b").get(retry=None, timeout=30)

    assert [each.id for each in found] == ["0", "1", "2"]


def test_an_index_over_a_name_that_requests_cannot_contain_does_not_prevent_a_start(own: FirestoreProcess) -> None:
    """Earlier versions created such an index for a query that is now refused."""
    own.start()
    collection = own.client().collection("c")
    collection.document("0").set({"a": 1, "b": 2})
    assert len(list(collection.order_by("a").order_by("b").stream())) == 1
    own.end()
    with contextlib.closing(sqlite3.connect(own.data)) as connection:
        connection.execute("""UPDATE composites SET definition = replace(definition, '"a"', '"v.__type__"')""")
        connection.commit()

    own.start()

    collection.document("1").set({"a": 1, "b": 3})
    assert len(list(collection.order_by("a").order_by("b").stream())) == 2


def test_a_transaction_that_begins_with_a_rejected_query_blocks_no_writes(own: FirestoreProcess, indexes: Path) -> None:
    """Its client does not know its id, so it cannot end the transaction."""
    own.options = ["--indexes", str(indexes)]
    own.start()
    request = m.RunQueryRequest(parent=ROOT)
    request.new_transaction.read_write.SetInParent()
    request.structured_query.from_.add(collection_id="results")
    for field in ("count", "mean"):
        request.structured_query.order_by.add().field.field_path = field

    with pytest.raises(grpc.RpcError, match="requires an index"):
        own.stream("RunQuery", request, m.RunQueryResponse)

    own.client().document("results/a").set({"count": 1, "mean": 1}, retry=None, timeout=30)


def test_missing_indexes_are_created_with_create_indexes(own: FirestoreProcess, indexes: Path) -> None:
    """The query is served, and the definition to add is logged."""
    own.options = ["--indexes", str(indexes), "--create-indexes"]
    own.start()
    results = own.client().collection("results")
    for number in range(3):
        results.document(str(number)).set({"shard": 1, "count": 3 - number})

    query = results.where(filter=FieldFilter("shard", "==", 1)).order_by("count")

    assert [found.id for found in query.stream()] == ["2", "1", "0"]
    assert '"fieldPath": "count"' in own.log.read_text()


def test_an_exempted_field_is_not_indexed(own: FirestoreProcess, indexes: Path) -> None:
    """Queries of it are rejected. It may hold more elements than a document may have index entries."""
    own.options = ["--indexes", str(indexes)]
    own.start()
    samples = own.client().collection("samples")
    samples.document("a").set({"raw": list(range(50_000)), "n": 1})

    assert [found.id for found in samples.where(filter=FieldFilter("n", "==", 1)).stream()] == ["a"]
    with pytest.raises(exceptions.FailedPrecondition, match="requires an index"):
        list(samples.where(filter=FieldFilter("raw", "array_contains", 5)).stream())


def test_changed_definitions_apply_from_the_next_start(own: FirestoreProcess, tmp_path: Path) -> None:
    """A new index and a field that is no longer exempted both find existing documents."""
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


ASCENDING, DESCENDING = (
    {
        "collectionGroup": "results",
        "queryScope": "COLLECTION",
        "fields": [{"fieldPath": field, "order": order} for field in ("shard", "mean")],
    }
    for order in ("ASCENDING", "DESCENDING")
)


def test_an_index_and_its_reverse_share_their_entries(own: FirestoreProcess, tmp_path: Path) -> None:
    """Each serves its own direction only. Dropping the last one deletes the entries."""
    path = tmp_path / "firestore.indexes.json"
    own.options = ["--indexes", str(write_indexes(path, [ASCENDING, DESCENDING], []))]
    own.start()
    for number in range(4):
        own.client().document(f"results/{number}").set({"shard": number % 2, "mean": number})

    def found(direction: str) -> list[str]:
        sharded = own.client().collection("results").where(filter=FieldFilter("shard", "==", 1))
        return [each.id for each in sharded.order_by("mean", direction=direction).stream()]

    assert (found("ASCENDING"), found("DESCENDING")) == (["1", "3"], ["3", "1"])
    assert composite_entries(own) == 4
    own.end()

    write_indexes(path, [DESCENDING], [])
    own.start()
    own.client().document("results/5").set({"shard": 1, "mean": 5})
    assert found("DESCENDING") == ["5", "3", "1"]
    with pytest.raises(exceptions.FailedPrecondition, match="requires an index"):
        found("ASCENDING")
    own.end()

    write_indexes(path, [], [])
    own.start()
    assert composite_entries(own) == 0


def test_a_file_whose_descending_indexes_have_entries_of_their_own_is_upgraded(
    own: FirestoreProcess, tmp_path: Path
) -> None:
    """Such indexes, of an older file format, are built again."""
    own.options = ["--indexes", str(write_indexes(tmp_path / "firestore.indexes.json", [DESCENDING], []))]
    own.start()
    for number in range(3):
        own.client().document(f"results/{number}").set({"shard": 1, "mean": number})
    own.end()
    with contextlib.closing(sqlite3.connect(own.data)) as connection:
        convert_to_format_1(connection)
        connection.execute("ALTER TABLE composites DROP COLUMN entries")
        connection.execute("UPDATE entries SET key = key || x'ff' WHERE key >= x'03'")
        connection.commit()

    own.start()

    sharded = own.client().collection("results").where(filter=FieldFilter("shard", "==", 1))
    assert [each.id for each in sharded.order_by("mean", direction="DESCENDING").stream()] == ["2", "1", "0"]
    assert composite_entries(own) == 3


def composite_entries(firestore: FirestoreProcess) -> int:
    """Return the number of entries of composite indexes."""
    ((count,),) = firestore.query("SELECT count(*) FROM entries WHERE key >= x'03'")
    return int(count)


def test_an_invalid_definitions_file_stops_the_start(own: FirestoreProcess, tmp_path: Path) -> None:
    """With one line that names the file."""
    path = tmp_path / "firestore.indexes.json"
    path.write_text('{"indexes": [{"fields": 7}]}')
    own.options = ["--indexes", str(path)]

    with pytest.raises(AssertionError, match=r"is not a valid firestore\.indexes\.json"):
        own.start()


def test_a_missing_member_of_a_definition_is_named(tmp_path: Path) -> None:
    """The message contains the name of the member."""
    path = tmp_path / "firestore.indexes.json"
    path.write_text('{"indexes": [{"collectionGroup": "users", "fields": [{"order": "ASCENDING"}]}]}')

    with pytest.raises(definitions.InvalidDefinitions, match="the member 'fieldPath' is missing"):
        definitions.read(path)


@pytest.mark.parametrize("field_path", ["foo-bar", "a..b", ""])
def test_an_invalid_field_path_of_a_definition_is_reported(tmp_path: Path, field_path: str) -> None:
    """With the name of the file. The server ended with a traceback."""
    override = {"collectionGroup": "users", "fieldPath": field_path, "indexes": []}
    path = write_indexes(tmp_path / "firestore.indexes.json", [], [override])

    with pytest.raises(definitions.InvalidDefinitions, match=r"is not a valid firestore\.indexes\.json"):
        definitions.read(path)


def test_documents_expire_by_their_time_to_live_field(own: FirestoreProcess, tmp_path: Path) -> None:
    """In every collection of the group. Documents without a past timestamp in that field stay."""
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

    expired = [client.document(path) for path in ("sessions/old", "users/a/sessions/old")]
    eventually(lambda: not any(document.get().exists for document in expired))

    assert sorted(found.id for found in client.collection("sessions").stream()) == ["new", "odd"]


def test_superseded_versions_are_pruned_after_the_retention_period(own: FirestoreProcess) -> None:
    """Then reads of the past are rejected, and current documents stay."""
    own.start()
    document = own.client().document("versions/a")
    first = document.set({"n": 1}).update_time
    document.set({"n": 2})
    assert document.get(read_time=first).to_dict() == {"n": 1}
    own.end()
    own.options = ["--version-retention-seconds", "0"]
    own.start()

    eventually(lambda: own.query("SELECT count(*) FROM versions") == [(1,)])
    with pytest.raises(exceptions.FailedPrecondition, match="too old"):
        document.get(read_time=first)
    assert document.get().to_dict() == {"n": 2}
