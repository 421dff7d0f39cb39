"""Writes, as the official client makes them: masks, preconditions, transforms, times, limits."""

import math
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore import Client, CollectionReference

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, Requests


def test_an_update_touches_what_it_names_and_nothing_else(collection: CollectionReference) -> None:
    """Nested and quoted paths are set and deleted one by one."""
    document = collection.document()
    document.set({"a": {"x": 1, "y": 2}, "b.c": 3, "kept": [1]})

    document.update({"a.x": firestore.DELETE_FIELD, "a.z": 4, "`b.c`": 5})

    assert document.get().to_dict() == {"a": {"y": 2, "z": 4}, "b.c": 5, "kept": [1]}


def test_transforms_are_applied_in_order_and_their_results_returned(collection: CollectionReference) -> None:
    """Integers saturate, doubles win, elements are compared by value, the request time is the commit time."""
    document = collection.document()
    document.set({"n": 2**63 - 2, "f": 1, "list": [1, 2, 1.0, "a"], "word": "x"})

    result = document.update(
        {
            "n": firestore.Increment(5),
            "f": firestore.Increment(0.5),
            "list": firestore.ArrayRemove([1]),
            "word": firestore.Maximum(7),
            "at": firestore.SERVER_TIMESTAMP,
        }
    )

    found = document.get()
    assert found.to_dict() == {"n": 2**63 - 1, "f": 1.5, "list": [2, "a"], "word": 7, "at": found.update_time}
    assert result.update_time == found.update_time


@pytest.mark.parametrize("transform", [firestore.Maximum, firestore.Minimum, firestore.Increment])
@pytest.mark.parametrize(("stored", "operand"), [(5, math.nan), (math.nan, 5), (math.nan, 5.5)])
def test_whatever_is_computed_of_nan_is_nan(
    collection: CollectionReference, transform: Any, stored: float, operand: float
) -> None:
    """As Google's reference has it of maxima, too, though NaN sorts before all other numbers."""
    document = collection.document()
    document.set({"n": stored})

    document.update({"n": transform(operand)})

    assert math.isnan(document.get().get("n"))


def test_commit_times_rise_and_a_document_keeps_its_create_time(collection: CollectionReference) -> None:
    """Each commit is later than the one before; deletion begins a new life."""
    document = collection.document()
    times = [document.set({"n": number}).update_time for number in range(20)]
    created = document.get().create_time
    document.delete()
    document.set({})

    assert times == sorted(set(times))
    assert created == times[0]
    assert document.get().create_time > times[-1]


def test_a_write_that_changes_nothing_keeps_the_update_time(collection: CollectionReference) -> None:
    """It is acknowledged, and no version or event comes of it."""
    document = collection.document()
    first = document.set({"a": 1}).update_time

    assert document.set({"a": 1}).update_time == first
    assert document.get().update_time == first


def test_preconditions_are_refused_with_codes_and_words_of_production(collection: CollectionReference) -> None:
    """Existing, missing and changed documents each have their own error."""
    document = collection.document("x")
    with pytest.raises(exceptions.NotFound, match="No document to update: projects/p/"):
        document.update({"a": 1})
    before = document.create({"a": 1}).update_time
    with pytest.raises(exceptions.AlreadyExists, match="Document already exists: projects/p/"):
        document.create({})
    document.set({"a": 2})
    with pytest.raises(exceptions.FailedPrecondition):
        document.delete(firestore.LastUpdateOption(before))


def test_a_commit_is_all_or_nothing(client: Client, collection: CollectionReference) -> None:
    """One refused write takes the others with it."""
    batch = client.batch()
    batch.set(collection.document("a"), {})
    batch.update(collection.document("missing"), {"n": 1})

    with pytest.raises(exceptions.NotFound):
        batch.commit()

    assert not collection.document("a").get().exists


def test_several_writes_to_one_document_are_one_version(client: Client, collection: CollectionReference) -> None:
    """They are applied in their order and share the commit time."""
    document = collection.document("a")
    batch = client.batch()
    batch.set(document, {"n": 1})
    batch.update(document, {"n": firestore.Increment(2)})
    batch.update(document, {"m": 1})

    results = batch.commit()

    assert document.get().to_dict() == {"n": 3, "m": 1}
    assert {result.update_time for result in results} == {document.get().update_time}


def test_batch_write_answers_each_write_by_itself(firestore: FirestoreProcess) -> None:
    """Results and statuses stand in the order of the writes, refused ones among them."""
    good, missing, bad = m.Write(), m.Write(), m.Write()
    good.update.name = f"{ROOT}/batch/good"
    missing.update.name = f"{ROOT}/batch/missing"
    missing.current_document.exists = True
    bad.update.name = f"{ROOT}/batch/__bad__"
    request = m.BatchWriteRequest(database=DATABASE, writes=[missing, good, bad])

    response = firestore.call("BatchWrite", request, m.BatchWriteResponse)

    assert [status.code for status in response.status] == [5, 0, 3]
    assert [result.HasField("update_time") for result in response.write_results] == [False, True, False]


def test_batch_write_refuses_a_document_twice_and_too_many_writes(firestore: FirestoreProcess) -> None:
    """Both are faults of the whole request."""
    write = m.Write(delete=f"{ROOT}/batch/twice")
    for writes in ([write, write], [m.Write(delete=f"{ROOT}/batch/{number}") for number in range(501)]):
        with pytest.raises(grpc.RpcError) as refused:
            firestore.call("BatchWrite", m.BatchWriteRequest(database=DATABASE, writes=writes), m.BatchWriteResponse)

        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"a": "x" * 1_048_488}, "longer than 1048487 bytes"),
        ({"a": "x" * 600_000, "b": "x" * 600_000}, "exceeds the maximum allowed size of 1,048,576 bytes"),
        ({"a": {"__b__": 1}}, "reserved"),
        ({"a" * 1501: 1}, "longer than 1500 bytes"),
        ({"a": list(range(40_001))}, "Too many index entries"),
        ({"__b__": firestore.SERVER_TIMESTAMP}, "reserved"),
        ({"a": firestore.ArrayUnion([[1]])}, "array value in an array value"),
    ],
)
def test_what_no_document_may_hold_is_refused(collection: CollectionReference, fields: Any, words: str) -> None:
    """Sizes by the documented rule, names, index entries."""
    with pytest.raises(exceptions.InvalidArgument, match=words):
        collection.document().set(fields)


def test_the_time_of_a_request_counts_for_the_size(collection: CollectionReference) -> None:
    """A name counts its bytes and one more, a time eight; every document counts 32, and 16 for its path."""
    document = collection.document("x")
    path = len(f"{collection.id}/x/") + 16
    texts = ["x" * 600_000, "x" * (1_048_576 - 32 - path - 600_000 - 2 * (2 + 1))]

    document.set({"a": texts[0], "b": texts[1]})
    with pytest.raises(exceptions.InvalidArgument, match="exceeds the maximum allowed size"):
        document.set({"a": texts[0], "b": texts[1], "at": firestore.SERVER_TIMESTAMP})
    document.set({"a": texts[0], "b": texts[1][11:], "at": firestore.SERVER_TIMESTAMP})
    with pytest.raises(exceptions.InvalidArgument, match="exceeds the maximum allowed size"):
        document.set({"a": texts[0], "b": texts[1][10:], "at": firestore.SERVER_TIMESTAMP})


def test_depth_and_nested_arrays_are_limited(firestore: FirestoreProcess) -> None:
    """Twenty levels are allowed, an array directly in an array is not."""
    for depth, fits in ((20, True), (21, False)):
        write = m.Write()
        write.update.name = f"{ROOT}/deep/{depth}"
        value = write.update.fields["a"]
        for _ in range(depth):
            value = value.map_value.fields["a"]
        value.integer_value = 1
        request = m.CommitRequest(database=DATABASE, writes=[write])
        if fits:
            firestore.call("Commit", request, m.CommitResponse)
        else:
            with pytest.raises(grpc.RpcError, match="nested"):
                firestore.call("Commit", request, m.CommitResponse)
    nested = m.Write()
    nested.update.name = f"{ROOT}/deep/array"
    nested.update.fields["a"].array_value.values.add().array_value.values.add().integer_value = 1
    with pytest.raises(grpc.RpcError, match="array value in an array value"):
        firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=[nested]), m.CommitResponse)


def test_the_single_document_calls_do_what_their_names_say(firestore: FirestoreProcess) -> None:
    """Create with and without an id, update with masks, get, delete."""
    document = m.Document()
    document.fields["a"].integer_value = 1
    create = m.CreateDocumentRequest(parent=ROOT, collection_id="single", document_id="x", document=document)
    created = firestore.call("CreateDocument", create, m.Document)
    create.document_id = ""
    unnamed = firestore.call("CreateDocument", create, m.Document)
    update = m.UpdateDocumentRequest(document=m.Document(name=created.name))
    update.document.fields["b"].integer_value = 2
    update.update_mask.field_paths.append("b")
    update.mask.field_paths.append("b")
    updated = firestore.call("UpdateDocument", update, m.Document)

    assert created.name == f"{ROOT}/single/x"
    assert len(unnamed.name.rsplit("/", 1)[1]) == 20
    assert list(updated.fields) == ["b"]
    found = firestore.call("GetDocument", m.GetDocumentRequest(name=created.name), m.Document)
    assert sorted(found.fields) == ["a", "b"]
    firestore.call("DeleteDocument", m.DeleteDocumentRequest(name=created.name), m.Empty)
    with pytest.raises(grpc.RpcError, match="not found"):
        firestore.call("GetDocument", m.GetDocumentRequest(name=created.name), m.Document)


def test_the_write_stream_commits_request_by_request(firestore: FirestoreProcess) -> None:
    """A hand-shake, then one answer with a new token for each request."""
    requests = Requests(m.WriteRequest(database=DATABASE))
    stream = firestore.converse("Write", requests, m.WriteRequest, m.WriteResponse)
    greeting = next(stream)
    answers = []
    for number in range(2):
        write = m.Write()
        write.update.name = f"{ROOT}/stream/{number}"
        requests.send(m.WriteRequest(stream_token=greeting.stream_token, writes=[write]))
        answers.append(next(stream))
    requests.send(None)

    assert greeting.stream_id
    assert len({greeting.stream_token, *(answer.stream_token for answer in answers)}) == 3
    assert all(answer.HasField("commit_time") and len(answer.write_results) == 1 for answer in answers)
    assert list(stream) == []


def test_what_is_left_out_says_so(firestore: FirestoreProcess) -> None:
    """Pipelines and explain answer UNIMPLEMENTED, never UNKNOWN."""
    explain = m.RunQueryRequest(parent=ROOT)
    explain.structured_query.from_.add(collection_id="a")
    explain.explain_options.analyze = True
    for method, request, response in (
        ("ExecutePipeline", m.ExecutePipelineRequest(database=DATABASE), m.ExecutePipelineResponse),
        ("RunQuery", explain, m.RunQueryResponse),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            firestore.stream(method, request, response)

        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
