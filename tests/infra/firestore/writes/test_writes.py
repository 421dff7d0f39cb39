"""Writes with Google's client: masks, preconditions, transforms, times, limits."""

import math
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore import Client, CollectionReference

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, Requests


def test_an_update_changes_only_the_fields_that_it_names(collection: CollectionReference) -> None:
    """Nested and quoted paths are set and deleted separately."""
    document = collection.document()
    document.set({"a": {"x": 1, "y": 2}, "b.c": 3, "other": [1]})

    document.update({"a.x": firestore.DELETE_FIELD, "a.z": 4, "`b.c`": 5})

    assert document.get().to_dict() == {"a": {"y": 2, "z": 4}, "b.c": 5, "other": [1]}


def test_transforms_are_applied_in_order_and_their_results_returned(collection: CollectionReference) -> None:
    """Integers saturate, a double makes the result a double, array elements compare by value."""
    document = collection.document()
    document.set({"n": 2**63 - 2, "low": 2 - 2**63, "f": 1, "list": [1, 2, 1.0, "a"], "set": [1], "word": "x"})

    result = document.update(
        {
            "n": firestore.Increment(5),
            "low": firestore.Increment(-5),
            "f": firestore.Increment(0.5),
            "list": firestore.ArrayRemove([1]),
            "set": firestore.ArrayUnion([2, 1.0, 2]),
            "word": firestore.Maximum(7),
            "at": firestore.SERVER_TIMESTAMP,
        }
    )

    found = document.get()
    assert found.to_dict() == {
        "n": 2**63 - 1,
        "low": -(2**63),
        "f": 1.5,
        "list": [2, "a"],
        "set": [1, 2],
        "word": 7,
        "at": found.update_time,
    }
    assert result.update_time == found.update_time


@pytest.mark.parametrize("transform", [firestore.Maximum, firestore.Minimum, firestore.Increment])
@pytest.mark.parametrize(("stored", "operand"), [(5, math.nan), (math.nan, 5), (math.nan, 5.5)])
def test_a_computation_with_nan_results_in_nan(
    collection: CollectionReference, transform: Any, stored: float, operand: float
) -> None:
    """Also a maximum and a minimum, as Google's reference states, although NaN sorts before all numbers."""
    document = collection.document()
    document.set({"n": stored})

    document.update({"n": transform(operand)})

    assert math.isnan(document.get().get("n"))


def test_commit_times_rise_and_the_create_time_stays(collection: CollectionReference) -> None:
    """A document that is deleted and set again has a new create time."""
    document = collection.document()
    times = [document.set({"n": number}).update_time for number in range(20)]
    created = document.get().create_time
    document.delete()
    document.set({})

    assert times == sorted(set(times))
    assert created == times[0]
    assert document.get().create_time > times[-1]


def test_a_write_that_changes_nothing_keeps_the_update_time(collection: CollectionReference) -> None:
    """The write is acknowledged, and the document stays as it was."""
    document = collection.document()
    first = document.set({"a": 1}).update_time

    assert document.set({"a": 1}).update_time == first
    assert document.get().update_time == first


def test_failed_preconditions_have_the_codes_and_messages_of_production(collection: CollectionReference) -> None:
    """Missing, existing and changed documents each have their own error."""
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
    """If one write is refused, the others are not stored."""
    batch = client.batch()
    batch.set(collection.document("a"), {})
    batch.update(collection.document("missing"), {"n": 1})

    with pytest.raises(exceptions.NotFound):
        batch.commit()

    assert not collection.document("a").get().exists


def test_several_writes_to_one_document_make_one_version(client: Client, collection: CollectionReference) -> None:
    """They are applied in order and share the commit time."""
    document = collection.document("a")
    batch = client.batch()
    batch.set(document, {"n": 1})
    batch.update(document, {"n": firestore.Increment(2)})
    batch.update(document, {"m": 1})

    results = batch.commit()

    assert document.get().to_dict() == {"n": 3, "m": 1}
    assert {result.update_time for result in results} == {document.get().update_time}


def test_batch_write_returns_a_status_for_each_write(firestore: FirestoreProcess) -> None:
    """Results and statuses are in the order of the writes. Two writes without an operation name no document twice."""
    good, missing, bad = m.Write(), m.Write(), m.Write()
    good.update.name = f"{ROOT}/batch/good"
    missing.update.name = f"{ROOT}/batch/missing"
    missing.current_document.exists = True
    bad.update.name = f"{ROOT}/batch/__bad__"
    request = m.BatchWriteRequest(database=DATABASE, writes=[missing, good, bad, m.Write(), m.Write()])

    response = firestore.call("BatchWrite", request, m.BatchWriteResponse)

    assert [status.code for status in response.status] == [5, 0, 3, 3, 3]
    assert [result.HasField("update_time") for result in response.write_results] == [False, True, False, False, False]


def test_batch_write_refuses_duplicate_documents_and_more_than_500_writes(firestore: FirestoreProcess) -> None:
    """Both are errors of the whole request."""
    write = m.Write(delete=f"{ROOT}/batch/twice")
    for writes in ([write, write], [m.Write(delete=f"{ROOT}/batch/{number}") for number in range(501)]):
        with pytest.raises(grpc.RpcError) as refused:
            firestore.call("BatchWrite", m.BatchWriteRequest(database=DATABASE, writes=writes), m.BatchWriteResponse)

        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": "x" * 1_048_488}, "longer than 1048487 bytes"),
        ({"a": "x" * 600_000, "b": "x" * 600_000}, "exceeds the maximum allowed size of 1,048,576 bytes"),
        ({"a": {"__b__": 1}}, "reserved"),
        ({"a" * 1501: 1}, "longer than 1500 bytes"),
        ({"a": list(range(40_001))}, "Too many index entries"),
        ({f"a{number}": 1 for number in range(20_001)}, "Too many index entries"),
        ({"__b__": firestore.SERVER_TIMESTAMP}, "reserved"),
        ({"a": firestore.ArrayUnion([[1]])}, "array value in an array value"),
        ({"a": {"__decimal128__": "1e3000000"}}, "out of range"),
        ({"a": {"__decimal128__": "1e-3000000"}}, "out of range"),
        ({"a": {"__type__": "__vector__", "value": [1.0], "more": "x" * 2_000_000}}, "other members"),
        ({"a": {"__regex__": {"pattern": "x", "more": "x" * 2_000_000}}}, "unknown member"),
        ({"a": {"__request_timestamp__": {"seconds": "x" * 2_000_000}}}, "wrong type"),
    ],
)
def test_an_invalid_document_is_refused(collection: CollectionReference, fields: Any, message: str) -> None:
    """Sizes by the documented rule, field names, index entries, nested arrays."""
    with pytest.raises(exceptions.InvalidArgument, match=message):
        collection.document().set(fields)


@pytest.mark.parametrize("name", ["__" + "é" * 100_000 + "__", "__" + "%" * 3_000 + "__", "__" + "x" * 3_000 + "__"])
def test_an_error_about_a_long_name_reaches_the_client(firestore: FirestoreProcess, name: str) -> None:
    """Only its middle is missing if it is too long for a header, and the code stays the same."""
    write = m.Write(update=m.Document(name=f"{ROOT}/t/x", fields={name: m.Value(integer_value=1)}))

    with pytest.raises(grpc.RpcError) as refused:
        firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=[write]), m.CommitResponse)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details().startswith('Property name "__')
    assert refused.value.details().endswith('is reserved because it matches the pattern "__.*__".')


def test_a_server_time_counts_towards_the_document_size(collection: CollectionReference) -> None:
    """A field name counts its bytes plus 1, a time 8, a document 32 and its path another 16."""
    document = collection.document("x")
    path = len(f"{collection.id}/x/") + 16
    texts = ["x" * 600_000, "x" * (1_048_576 - 32 - path - 600_000 - 2 * (2 + 1))]

    document.set({"a": texts[0], "b": texts[1]})
    with pytest.raises(exceptions.InvalidArgument, match="exceeds the maximum allowed size"):
        document.set({"a": texts[0], "b": texts[1], "at": firestore.SERVER_TIMESTAMP})
    document.set({"a": texts[0], "b": texts[1][11:], "at": firestore.SERVER_TIMESTAMP})
    with pytest.raises(exceptions.InvalidArgument, match="exceeds the maximum allowed size"):
        document.set({"a": texts[0], "b": texts[1][10:], "at": firestore.SERVER_TIMESTAMP})


def test_depth_is_limited_and_nested_arrays_are_refused(firestore: FirestoreProcess) -> None:
    """Twenty levels are accepted. An array directly in an array is not."""
    for depth, is_accepted in ((20, True), (21, False)):
        write = m.Write()
        write.update.name = f"{ROOT}/deep/{depth}"
        value = write.update.fields["a"]
        for _ in range(depth):
            value = value.map_value.fields["a"]
        value.integer_value = 1
        request = m.CommitRequest(database=DATABASE, writes=[write])
        if is_accepted:
            firestore.call("Commit", request, m.CommitResponse)
        else:
            with pytest.raises(grpc.RpcError, match="nested"):
                firestore.call("Commit", request, m.CommitResponse)
    nested = m.Write()
    nested.update.name = f"{ROOT}/deep/array"
    nested.update.fields["a"].array_value.values.add().array_value.values.add().integer_value = 1
    with pytest.raises(grpc.RpcError, match="array value in an array value"):
        firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=[nested]), m.CommitResponse)


def test_single_documents_are_created_updated_read_and_deleted(firestore: FirestoreProcess) -> None:
    """Create with and without an id, update with masks, get and delete."""
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


def test_a_write_stream_commits_each_request(firestore: FirestoreProcess) -> None:
    """A handshake, then one response with a new token for each request."""
    requests = Requests(m.WriteRequest(database=DATABASE))
    stream = firestore.converse("Write", requests, m.WriteRequest, m.WriteResponse)
    handshake = next(stream)
    responses = []
    for number in range(2):
        write = m.Write()
        write.update.name = f"{ROOT}/stream/{number}"
        requests.send(m.WriteRequest(stream_token=handshake.stream_token, writes=[write]))
        responses.append(next(stream))
    requests.send(None)

    assert handshake.stream_id
    assert len({handshake.stream_token, *(response.stream_token for response in responses)}) == 3
    assert all(response.HasField("commit_time") and len(response.write_results) == 1 for response in responses)
    assert list(stream) == []


def test_pipelines_return_unimplemented(firestore: FirestoreProcess) -> None:
    """The server does not support them."""
    with pytest.raises(grpc.RpcError) as refused:
        firestore.stream("ExecutePipeline", m.ExecutePipelineRequest(database=DATABASE), m.ExecutePipelineResponse)

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["CreateDocument", "UpdateDocument"])
def test_a_write_with_an_invalid_response_mask_stores_nothing(firestore: FirestoreProcess, method: str) -> None:
    """The mask is checked before the commit, so an error means that nothing is stored."""
    name = f"{ROOT}/masked/{method}"
    requests = {
        "CreateDocument": m.CreateDocumentRequest(parent=ROOT, collection_id="masked", document_id=method),
        "UpdateDocument": m.UpdateDocumentRequest(document=m.Document(name=name)),
    }
    requests[method].mask.field_paths.append("a..b")

    with pytest.raises(grpc.RpcError, match="Invalid property path"):
        firestore.call(method, requests[method], m.Document)

    with pytest.raises(grpc.RpcError, match="not found"):
        firestore.call("GetDocument", m.GetDocumentRequest(name=name), m.Document)
