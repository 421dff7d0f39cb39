"""Query explain with Google's client: the indexes of a query, and what its execution has read."""

from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition
from google.cloud.firestore import Client, CollectionReference
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.query_profile import ExplainOptions
from google.cloud.firestore_v1.vector import Vector

from tests.infra.firestore.server_process import FirestoreProcess, write_indexes


@pytest.fixture(scope="module")
def documents(client: Client) -> CollectionReference:
    """A collection with nine documents."""
    documents = client.collection("explained")
    for number in range(9):
        fields = {"n": number, "m": number % 3, "list": [number % 2], "v": Vector([float(number), 1.0])}
        documents.document(f"{number}").set(fields)
    return documents


QUERIES: dict[str, tuple[Any, list[str]]] = {
    "a collection": (lambda c: c, ["(__name__ ASC)"]),
    "an equality": (lambda c: c.where(filter=FieldFilter("m", "==", 1)), ["(m ASC, __name__ ASC)"]),
    "several values": (lambda c: c.where(filter=FieldFilter("m", "in", [1, 2])), ["(m ASC, __name__ ASC)"]),
    "an order": (lambda c: c.order_by("n", direction="DESCENDING"), ["(n DESC, __name__ DESC)"]),
    "an array": (
        lambda c: c.where(filter=FieldFilter("list", "array_contains", 1)),
        ["(list CONTAINS, __name__ ASC)"],
    ),
    "two indexes": (
        lambda c: c.where(filter=FieldFilter("m", "==", 1)).where(filter=FieldFilter("n", "==", 4)),
        ["(m ASC, __name__ ASC)", "(n ASC, __name__ ASC)"],
    ),
    "a composite index": (
        lambda c: c.where(filter=FieldFilter("m", "==", 1)).order_by("n", direction="DESCENDING"),
        ["(m ASC, n DESC, __name__ DESC)"],
    ),
    "a vector search": (
        lambda c: c.where(filter=FieldFilter("m", "==", 1)).find_nearest(
            "v", Vector([1.0, 1.0]), distance_measure=DistanceMeasure.EUCLIDEAN, limit=2
        ),
        ["(m ASC, __name__ ASC, v VECTOR<2>)"],
    ),
    "a count": (lambda c: c.where(filter=FieldFilter("m", "==", 1)).count(), ["(m ASC, __name__ ASC)"]),
    "a sum": (lambda c: c.sum("n"), ["(n ASC, __name__ ASC)"]),
}


def explained(query: Any) -> list[Any]:
    """Return all responses to a query that is executed and explained."""
    client = query._client
    request, *_ = query._prep_stream(explain_options=ExplainOptions(analyze=True))
    run = (
        client._firestore_api.run_query
        if "structured_query" in request
        else client._firestore_api.run_aggregation_query
    )
    return list(run(request=request, metadata=client._rpc_metadata))


@pytest.mark.parametrize("name", QUERIES)
def test_an_explanation_names_the_indexes_of_a_query(documents: CollectionReference, name: str) -> None:
    """Without `analyze`, the query is not executed."""
    query, properties = QUERIES[name]

    results = query(documents).get(explain_options=ExplainOptions(analyze=False))

    assert list(results) == []
    indexes = results.get_explain_metrics().plan_summary.indexes_used
    assert indexes == [{"query_scope": "Collection", "properties": each} for each in properties]


def test_the_indexes_of_a_collection_group_have_its_scope(documents: CollectionReference, client: Client) -> None:
    """They are other indexes than those of a collection."""
    results = client.collection_group(documents.id).get(explain_options=ExplainOptions(analyze=False))

    indexes = results.get_explain_metrics().plan_summary.indexes_used
    assert indexes == [{"query_scope": "Collection group", "properties": "(__name__ ASC)"}]


def test_an_executed_query_returns_its_results_and_what_it_has_read(documents: CollectionReference) -> None:
    """The last response contains the figures."""
    query = documents.where(filter=FieldFilter("m", "==", 1)).order_by("n").limit(2)

    results = query.get(explain_options=ExplainOptions(analyze=True))

    assert [document.id for document in results] == ["1", "4"]
    stats = results.get_explain_metrics().execution_stats
    assert (stats.results_returned, stats.read_operations) == (2, 2)
    assert stats.execution_duration.total_seconds() > 0
    assert stats.debug_stats["documents_scanned"] == stats.debug_stats["index_entries_scanned"] == "2"


def test_the_response_with_the_last_result_contains_the_explanation(documents: CollectionReference) -> None:
    """The Node client streams one element for each response, and Google's test of it counts them."""
    query: Any = documents.where(filter=FieldFilter("m", "==", 1))
    without_results = documents.where(filter=FieldFilter("m", "==", 3))
    count: Any = query.count()

    responses = explained(query)

    assert [(bool(each.document.name), "explain_metrics" in each) for each in responses] == [
        (True, False),
        (True, False),
        (True, True),
    ]
    (response,) = explained(without_results)
    assert response.read_time
    assert response.explain_metrics.execution_stats.results_returned == 0
    (response,) = explained(count)
    assert response.result
    assert response.explain_metrics.execution_stats.results_returned == 1


def test_an_executed_count_reads_index_entries_only(documents: CollectionReference) -> None:
    """A thousand index entries cost one read operation."""
    collection: Any = documents
    results = collection.count(alias="all").get(explain_options=ExplainOptions(analyze=True))

    assert [aggregation.value for row in results for aggregation in row] == [9]
    stats = results.get_explain_metrics().execution_stats
    assert (stats.results_returned, stats.read_operations) == (1, 1)
    assert (stats.debug_stats["documents_scanned"], stats.debug_stats["index_entries_scanned"]) == ("0", "9")


def test_an_explanation_requires_the_index_of_the_query(own: FirestoreProcess) -> None:
    """The error contains the definition to add, as for the query."""
    own.options = ["--indexes", str(write_indexes(own.data.with_name("firestore.indexes.json"), [], []))]
    own.start()
    query = own.client().collection("a").where(filter=FieldFilter("m", "==", 1)).order_by("n")

    with pytest.raises(FailedPrecondition, match="The query requires an index"):
        query.get(explain_options=ExplainOptions(analyze=False))
