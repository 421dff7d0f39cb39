"""The values that filters, cursors and array transforms compare with follow the rules of stored values."""

from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess


def _timestamp(nanoseconds: int) -> Any:
    return m.Value(timestamp_value=m.Timestamp(seconds=5, nanos=nanoseconds))


def _decimal(text: str) -> Any:
    value = m.Value()
    value.map_value.fields["__decimal128__"].string_value = text
    return value


def _equal_to(value: Any) -> Any:
    request = m.RunQueryRequest(parent=ROOT)
    request.structured_query.from_.add(collection_id="operands")
    condition = request.structured_query.where.field_filter
    condition.field.field_path = "a"
    condition.op = m.StructuredQuery.FieldFilter.Operator.EQUAL
    condition.value.CopyFrom(value)
    return request


def _starting_at(value: Any) -> Any:
    request = m.RunQueryRequest(parent=ROOT)
    request.structured_query.from_.add(collection_id="operands")
    request.structured_query.order_by.add().field.field_path = "a"
    request.structured_query.start_at.values.append(value)
    return request


@pytest.mark.parametrize("read", [_equal_to, _starting_at])
@pytest.mark.parametrize("value", [_timestamp(-5), _decimal("abc"), m.Value()])
def test_an_invalid_operand_is_refused(firestore: FirestoreProcess, read: Any, value: Any) -> None:
    """With INVALID_ARGUMENT, which clients do not retry."""
    with pytest.raises(grpc.RpcError) as refused:
        firestore.stream("RunQuery", read(value), m.RunQueryResponse)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("transform", ["append_missing_elements", "remove_all_from_array"])
def test_an_invalid_element_of_an_array_transform_is_refused(firestore: FirestoreProcess, transform: str) -> None:
    """Before the transform is applied."""
    write = m.Write(update=m.Document(name=f"{ROOT}/operands/invalid"))
    getattr(write.update_transforms.add(field_path="a"), transform).values.append(_decimal("abc"))

    with pytest.raises(grpc.RpcError) as refused:
        firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=[write]), m.CommitResponse)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_array_transforms_compare_timestamps_as_they_are_stored(firestore: FirestoreProcess) -> None:
    """Firestore stores microseconds. A repeated union adds nothing, and a removal finds the element."""
    name = f"{ROOT}/operands/times"

    def transform(operation: str) -> list[Any]:
        write = m.Write(update=m.Document(name=name), update_mask={})
        getattr(write.update_transforms.add(field_path="times"), operation).values.append(_timestamp(1_500))
        firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=[write]), m.CommitResponse)
        found = firestore.call("GetDocument", m.GetDocumentRequest(name=name), m.Document)
        return list(found.fields["times"].array_value.values)

    assert transform("append_missing_elements") == [_timestamp(1_000)]
    assert transform("append_missing_elements") == [_timestamp(1_000)]
    assert transform("remove_all_from_array") == []


def test_a_filter_compares_timestamps_as_they_are_stored(firestore: FirestoreProcess) -> None:
    """The nanoseconds that a document does not keep do not prevent a match."""
    document = m.Document(name=f"{ROOT}/operands/time", fields={"a": _timestamp(1_500)})
    write = m.Write(update=document)
    firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=[write]), m.CommitResponse)

    (found,) = firestore.stream("RunQuery", _equal_to(_timestamp(1_500)), m.RunQueryResponse)

    assert found.document.name == document.name
