"""Requests as the v1 API takes them, as steps: for what the client would not send."""

from collections.abc import Callable
from typing import Any

from google.cloud.firestore_v1.types import Value

from tests.differential.sides import Side

OWNER = (("authorization", "Bearer owner"),)  # who may do everything; the emulator asks for it in places
Step = Callable[[Side], Any]
MAX_ID_LENGTH = 1500
MAX_IN_VALUES = 30


ONE = {"integer_value": 1}
NAN = {"double_value": float("nan")}
NULL = {"null_value": 0}
VECTOR = {
    "map_value": {
        "fields": {
            "__type__": {"string_value": "__vector__"},
            "value": {"array_value": {"values": [{"double_value": 1.0}]}},
        }
    }
}
EVERYTHING = {"from_": [{"collection_id": "a"}]}


def commit(*writes: Callable[[Side], Any]) -> Step:
    """Return a Commit."""
    return lambda side: len(
        side.api.commit(request=_writes(side, writes), retry=None, timeout=30, metadata=OWNER).write_results
    )


def batch_write(*writes: Callable[[Side], Any]) -> Step:
    """Return a BatchWrite; it answers with the codes of the writes."""
    return lambda side: [
        status.code for status in side.api.batch_write(request=_writes(side, writes), retry=None, metadata=OWNER).status
    ]


def update_times(*writes: Callable[[Side], Any]) -> Step:
    """Return a Commit; it answers with which results have an update time."""
    return lambda side: [
        bool(result.update_time)
        for result in side.api.commit(request=_writes(side, writes), retry=None, metadata=OWNER).write_results
    ]


def create(collection_id: str, document_id: str) -> Step:
    """Return a CreateDocument at the root."""
    place = {"collection_id": collection_id, "document_id": document_id}
    return lambda side: (
        side.api.create_document(
            request={"parent": f"{side.database}/documents", **place, "document": {}}, retry=None, metadata=OWNER
        ).name
    )


def pages_of(collection_id: str, size: int) -> Step:
    """Return a ListDocuments at the root; it answers with the names."""
    return lambda side: [
        document.name
        for document in side.api.list_documents(
            request={"parent": f"{side.database}/documents", "collection_id": collection_id, "page_size": size},
            retry=None,
            metadata=OWNER,
        )
    ]


def commit_of(transaction: bytes) -> Step:
    """Return a Commit of a transaction that writes nothing."""
    return lambda side: side.api.commit(
        request={"database": side.database, "transaction": transaction}, retry=None, timeout=30
    )


def rollback(transaction: bytes) -> Step:
    """Return a Rollback."""
    return lambda side: side.api.rollback(request={"database": side.database, "transaction": transaction}, retry=None)


def get(path: str, **rest: Any) -> Step:
    """Return a GetDocument."""
    return lambda side: side.api.get_document(request={"name": side.name_of(path), **rest}, retry=None).name


def _writes(side: Side, writes: tuple[Callable[[Side], Any], ...]) -> Any:
    return {"database": side.database, "writes": [write(side) for write in writes]}


def update(path: str, fields: Any, **rest: Any) -> Callable[[Side], Any]:
    """Return an update of a document, with the fields as v1 Values."""
    return lambda side: {"update": {"name": side.name_of(path), "fields": fields}, **rest}


def delete(path: str, **rest: Any) -> Callable[[Side], Any]:
    """Return a delete."""
    return lambda side: {"delete": side.name_of(path), **rest}


def transform(path: str, *transforms: Any) -> Callable[[Side], Any]:
    """Return an update that only transforms."""
    return update(path, {}, update_mask={"field_paths": []}, update_transforms=list(transforms))


def find(query: Any, parent: str = "") -> Step:
    """Return a RunQuery; it answers with the number of documents."""

    def step(side: Side) -> Any:
        request = {"parent": side.name_of(parent).rstrip("/"), "structured_query": query}
        return sum(bool(each.document.name) for each in side.api.run_query(request=request, retry=None, timeout=30))

    return step


def average(path: str) -> Step:
    """Return a RunAggregationQuery; it answers with the type of the average."""

    def step(side: Side) -> Any:
        average = {"alias": "average", "avg": {"field": {"field_path": path}}}
        query = {"structured_query": EVERYTHING, "aggregations": [average]}
        request = {"parent": side.name_of("").rstrip("/"), "structured_aggregation_query": query}
        answers = side.api.run_aggregation_query(request=request, retry=None)
        return [Value.pb(each.result.aggregate_fields["average"]).WhichOneof("value_type") for each in answers]

    return step


def partitions(collection_id: str) -> Step:
    """Return a PartitionQuery; it answers with the number of cuts."""

    def step(side: Side) -> Any:
        query = {
            "from_": [{"collection_id": collection_id, "all_descendants": True}],
            "order_by": [{"field": {"field_path": "__name__"}}],
        }
        request = {"parent": side.name_of("").rstrip("/"), "structured_query": query, "partition_count": 2}
        return len(side.api.partition_query(request=request, retry=None).partitions)

    return step


def where(**condition: Any) -> Any:
    """Return a query on collection `a` with one filter on a field."""
    path = condition.pop("path", "a")
    return {"from_": [{"collection_id": "a"}], "where": {"field_filter": {"field": {"field_path": path}, **condition}}}


def near(path: str = "vector", **options: Any) -> Any:
    """Return a search in collection `a` for what is near [1]; options change it, or (None) take a part away."""
    search = {
        "vector_field": {"field_path": path},
        "query_vector": VECTOR,
        "distance_measure": "EUCLIDEAN",
        "limit": 1000,
        **options,
    }
    return {**EVERYTHING, "find_nearest": {name: value for name, value in search.items() if value is not None}}


def array(*elements: Any) -> Any:
    """Return an array."""
    return {"array_value": {"values": list(elements)}}


def several(count: int) -> Any:
    """Return an array of so many integers."""
    return array(*({"integer_value": number} for number in range(count)))


def nested(depth: int) -> Any:
    """Return a map in a map in a map."""
    return {"integer_value": 1} if depth == 0 else {"map_value": {"fields": {"a": nested(depth - 1)}}}
