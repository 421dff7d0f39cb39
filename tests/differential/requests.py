"""Requests of the v1 API as steps, for requests that the client would not send."""

from collections.abc import Callable
from typing import Any

from google.cloud.firestore_v1.types import Value

from tests.differential.compared_servers import ComparedServer

OWNER = (("authorization", "Bearer owner"),)  # the emulator requires it for some requests
Step = Callable[[ComparedServer], Any]
MAX_ID_LENGTH = 1500
MAX_IN_VALUES = 30


ONE = {"integer_value": 1}
NAN = {"double_value": float("nan")}
NULL = {"null_value": 0}


def vector(*components: Any) -> Any:
    """Return a vector of doubles."""
    return {"map_value": {"fields": {"__type__": {"string_value": "__vector__"}, "value": array(*components)}}}


def array(*elements: Any) -> Any:
    """Return an array."""
    return {"array_value": {"values": list(elements)}}


VECTOR = vector({"double_value": 1.0})
EVERYTHING = {"from_": [{"collection_id": "a"}]}


def commit(*writes: Callable[[ComparedServer], Any]) -> Step:
    """Return a Commit."""
    return lambda server: len(
        server.api.commit(request=_writes(server, writes), retry=None, timeout=30, metadata=OWNER).write_results
    )


def batch_write(*writes: Callable[[ComparedServer], Any]) -> Step:
    """Return a BatchWrite; its result is the codes of the writes."""
    return lambda server: [
        status.code
        for status in server.api.batch_write(request=_writes(server, writes), retry=None, metadata=OWNER).status
    ]


def update_times(*writes: Callable[[ComparedServer], Any]) -> Step:
    """Return a Commit; its result shows which writes have an update time."""
    return lambda server: [
        bool(result.update_time)
        for result in server.api.commit(request=_writes(server, writes), retry=None, metadata=OWNER).write_results
    ]


def members_of(field: str, write: Callable[[ComparedServer], Any]) -> Step:
    """Return a Commit; its result is the names in a map of the document afterwards."""

    def step(server: ComparedServer) -> Any:
        server.api.commit(request=_writes(server, (write,)), retry=None, metadata=OWNER)
        stored = server.api.get_document(request={"name": write(server)["update"]["name"]}, retry=None)
        return sorted(stored.fields[field].map_value.fields)

    return step


def create(collection_id: str, document_id: str, document: Any = None) -> Step:
    """Return a CreateDocument at the root."""
    target = {"collection_id": collection_id, "document_id": document_id}
    return lambda server: (
        server.api.create_document(
            request={"parent": f"{server.database}/documents", **target, "document": document or {}},
            retry=None,
            metadata=OWNER,
        ).name
    )


def pages_of(collection_id: str, size: int = 0, order_by: str = "", *, show_missing: bool = False) -> Step:
    """Return a ListDocuments at the root; its result is the names."""
    return lambda server: [
        document.name
        for document in server.api.list_documents(
            request={
                "parent": f"{server.database}/documents",
                "collection_id": collection_id,
                "page_size": size,
                "order_by": order_by,
                "show_missing": show_missing,
            },
            retry=None,
            metadata=OWNER,
        )
    ]


def commit_of(transaction: bytes) -> Step:
    """Return a Commit of a transaction without writes."""
    return lambda server: server.api.commit(
        request={"database": server.database, "transaction": transaction}, retry=None, timeout=30
    )


def rollback(transaction: bytes) -> Step:
    """Return a Rollback."""
    return lambda server: server.api.rollback(
        request={"database": server.database, "transaction": transaction}, retry=None
    )


def get(path: str, **rest: Any) -> Step:
    """Return a GetDocument."""
    return lambda server: server.api.get_document(request={"name": server.name_of(path), **rest}, retry=None).name


def _writes(server: ComparedServer, writes: tuple[Callable[[ComparedServer], Any], ...]) -> Any:
    return {"database": server.database, "writes": [write(server) for write in writes]}


def update(path: str, fields: Any, **rest: Any) -> Callable[[ComparedServer], Any]:
    """Return an update of a document, with the fields as v1 Values."""
    return lambda server: {"update": {"name": server.name_of(path), "fields": fields}, **rest}


def delete(path: str, **rest: Any) -> Callable[[ComparedServer], Any]:
    """Return a delete."""
    return lambda server: {"delete": server.name_of(path), **rest}


def transform(path: str, *transforms: Any) -> Callable[[ComparedServer], Any]:
    """Return an update that only transforms."""
    return update(path, {}, update_mask={"field_paths": []}, update_transforms=list(transforms))


def increments(path: str, count: int) -> Callable[[ComparedServer], Any]:
    """Return an update that increments one field several times."""
    return transform(path, *[{"field_path": "a", "increment": ONE}] * count)


def legacy_transform(path: str, **rest: Any) -> Callable[[ComparedServer], Any]:
    """Return a transform of the form that clients sent before an update could contain transforms."""
    transforms = [{"field_path": "a", "increment": ONE}]
    return lambda server: {"transform": {"document": server.name_of(path), "field_transforms": transforms}, **rest}


def get_with_mask(path: str, field_path: str) -> Step:
    """Return a BatchGetDocuments of one document with a mask; its result is the number of responses."""

    def step(server: ComparedServer) -> Any:
        mask = {"field_paths": [field_path]}
        request = {"database": server.database, "documents": [server.name_of(path)], "mask": mask}
        return len(list(server.api.batch_get_documents(request=request, retry=None)))

    return step


def find(query: Any, parent: str = "") -> Step:
    """Return a RunQuery; its result is the number of documents."""

    def step(server: ComparedServer) -> Any:
        request = {"parent": server.name_of(parent).rstrip("/"), "structured_query": query}
        return sum(bool(each.document.name) for each in server.api.run_query(request=request, retry=None, timeout=30))

    return step


def average(path: str, alias: str = "average", parent: str = "", **options: Any) -> Step:
    """Return a RunAggregationQuery; its result is the type of the average."""

    def step(server: ComparedServer) -> Any:
        average = {"alias": alias, "avg": {"field": {"field_path": path}}}
        query = {"structured_query": {**EVERYTHING, **options}, "aggregations": [average]}
        request = {"parent": server.name_of(parent).rstrip("/"), "structured_aggregation_query": query}
        responses = server.api.run_aggregation_query(request=request, retry=None)
        return [Value.pb(each.result.aggregate_fields[alias]).WhichOneof("value_type") for each in responses]

    return step


def partitions(collection_id: str) -> Step:
    """Return a PartitionQuery; its result is the number of partition cursors."""

    def step(server: ComparedServer) -> Any:
        query = {
            "from_": [{"collection_id": collection_id, "all_descendants": True}],
            "order_by": [{"field": {"field_path": "__name__"}}],
        }
        request = {"parent": server.name_of("").rstrip("/"), "structured_query": query, "partition_count": 2}
        return len(server.api.partition_query(request=request, retry=None).partitions)

    return step


def where(**condition: Any) -> Any:
    """Return a query on collection `a` with one filter on a field."""
    path = condition.pop("path", "a")
    return {"from_": [{"collection_id": "a"}], "where": {"field_filter": {"field": {"field_path": path}, **condition}}}


def equal(number: int) -> Any:
    """Return a query on collection `a` for a number."""
    return where(op="EQUAL", value={"integer_value": number})


def field_equal(number: int) -> Any:
    """Return a query on collection `a` for the integer 1 in the field with a number."""
    return where(path=f"a{number}", op="EQUAL", value=ONE)


def contains(number: int) -> Any:
    """Return a query on collection `a` for a number in an array."""
    return where(path="list", op="ARRAY_CONTAINS", value={"integer_value": number})


def joined(operator: str, *queries: Any) -> Any:
    """Return a query on collection `a` with the filters of several queries."""
    filters = [query["where"] for query in queries]
    return {**EVERYTHING, "where": {"composite_filter": {"op": operator, "filters": filters}}}


def unary(operator: Any, path: str) -> Any:
    """Return a query on collection `a` with one filter that compares a field with null or NaN."""
    return {**EVERYTHING, "where": {"unary_filter": {"field": {"field_path": path}, "op": operator}}}


def name_filter(path: str) -> Step:
    """Return a RunQuery of the documents in collection `a` after a name; its result is the number of documents."""
    return lambda server: find(
        where(path="__name__", op="GREATER_THAN", value={"reference_value": server.name_of(path)})
    )(server)


BY_NAME = [{"field": {"field_path": "__name__"}}]


def name_cursor(path: str, order: Any = BY_NAME) -> Step:
    """Return a RunQuery of the documents in collection `a` from a name; its result is the number of documents."""
    return lambda server: find(
        {**EVERYTHING, "order_by": order, "start_at": {"values": [{"reference_value": server.name_of(path)}]}}
    )(server)


def near(path: str = "vector", **options: Any) -> Any:
    """Return a vector search in collection `a` near [1]. Options replace a part, or remove it if None."""
    search = {
        "vector_field": {"field_path": path},
        "query_vector": VECTOR,
        "distance_measure": "EUCLIDEAN",
        "limit": 1000,
        **options,
    }
    return {**EVERYTHING, "find_nearest": {name: value for name, value in search.items() if value is not None}}


def several(count: int, *others: Any) -> Any:
    """Return an array of `count` integers and of other values."""
    return array(*({"integer_value": number} for number in range(count)), *others)


def text(length: int) -> Any:
    """Return a string."""
    return {"string_value": "x" * length}


def nested(depth: int) -> Any:
    """Return an integer inside `depth` nested maps."""
    return {"integer_value": 1} if depth == 0 else {"map_value": {"fields": {"a": nested(depth - 1)}}}
