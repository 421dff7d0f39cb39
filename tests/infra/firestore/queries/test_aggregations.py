"""A count equals the number of results of its query, whether it is read from index keys or from documents."""

import math
from typing import Any

import pytest
from google.cloud.firestore import Client, FieldFilter, Or, transactional

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.messages import Document, Value
from infra.embedded.firestore.queries.aggregations import Aggregation
from tests.infra.firestore.server_process import ROOT, FirestoreProcess

LONG = "\0" * 800  # its encoding is longer than the part of a value that an index contains


@pytest.fixture(scope="module")
def counted(firestore: FirestoreProcess) -> Client:
    """Documents in a collection and below its documents, some with values that indexes truncate."""
    client = firestore.client()
    batch = client.batch()
    for number in range(60):
        fields = {"n": number, "even": number % 2 == 0, "tags": [number % 3, number % 5], "long": f"{LONG}{number}"}
        batch.set(client.document(f"counted/{number}"), fields if number else {})
        batch.set(client.document(f"counted/{number}/counted/nested"), {"n": number})
    batch.commit()
    return client


def condition(field: str, operator: str, value: Any) -> FieldFilter:
    """Return a filter."""
    return FieldFilter(field, operator, value)


QUERIES: list[Any] = [
    lambda c: c.collection("counted"),
    lambda c: c.collection_group("counted"),
    lambda c: c.collection("counted/7/counted"),
    lambda c: c.collection("counted").order_by("n", direction="DESCENDING"),
    lambda c: c.collection("counted").where(filter=condition("n", ">=", 10)).where(filter=condition("n", "<", 20)),
    lambda c: c.collection("counted").where(filter=condition("n", "!=", 10)),
    lambda c: c.collection("counted").where(filter=condition("even", "==", True)),
    lambda c: c.collection("counted").where(filter=condition("even", "==", 1)),
    lambda c: c.collection("counted").where(filter=condition("even", "==", True)).where(filter=condition("n", ">", 50)),
    lambda c: c.collection("counted").where(filter=condition("tags", "array_contains", 2)),
    lambda c: c.collection("counted").where(filter=condition("long", "==", f"{LONG}7")),
    lambda c: c.collection("counted").where(filter=condition("n", "in", [1, 2, 99])),
    lambda c: c.collection("counted").where(filter=Or([condition("n", "<", 10), condition("even", "==", True)])),
    lambda c: c.collection("counted").where(filter=condition("__name__", "==", c.document("counted/7"))),
    lambda c: c.collection("counted").order_by("n").start_after({"n": 40}),
    lambda c: c.collection("counted").limit(7),
    lambda c: c.collection("counted").offset(55).limit(7),
    lambda c: c.collection("nothing"),
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_count_is_the_number_of_results(counted: Client, query: Any) -> None:
    """Also in a transaction, which reads the documents in order to lock them."""
    built = query(counted)
    results = len(built.get())

    @transactional
    def inside(transaction: Any) -> int:
        return int(built.count("all").get(transaction=transaction)[0][0].value)

    assert built.count("all").get()[0][0].value == results
    assert inside(counted.transaction()) == results


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("field", [None, "even"], ids=["documents", "index keys"])
def test_a_count_ends_at_its_limit(firestore: FirestoreProcess, field: str | None) -> None:
    """A client that needs to know only whether there are more than a few pays for a few."""
    request = m.RunAggregationQueryRequest(parent=ROOT)
    aggregation = request.structured_aggregation_query
    aggregation.structured_query.from_.add(collection_id="counted")
    if field is not None:
        condition = aggregation.structured_query.where.field_filter
        condition.field.field_path, condition.op, condition.value.boolean_value = field, 5, True
    aggregation.aggregations.add(alias="few").count.up_to.value = 7

    (response,) = firestore.stream("RunAggregationQuery", request, m.RunAggregationQueryResponse)

    assert response.result.aggregate_fields["few"].integer_value == 7


def test_a_count_at_a_past_read_time(firestore: FirestoreProcess) -> None:
    """Ignores later writes and deletes."""
    client = firestore.client()
    collection = client.collection("counted_then")
    for number in range(3):
        then = collection.document(f"{number}").set({"n": number}).update_time
    collection.document("0").delete()
    collection.document("1").set({"n": 9})
    collection.document("3").set({"n": 3})
    query: Any = collection.where(filter=condition("n", "<", 5))

    assert query.count("all").get(read_time=then)[0][0].value == 3
    assert query.count("all").get()[0][0].value == 2


@pytest.mark.parametrize("total", [-(2**63), 2**63 - 1])
def test_a_sum_can_be_any_integer_of_64_bits(total: int) -> None:
    """A sum beyond these is a double."""
    aggregation = Aggregation("total", "sum", ("n",), up_to=None)

    for number in (total // 2, total - total // 2):
        aggregation.add(Document(fields={"n": Value(integer_value=number)}))
    fits = aggregation.result()
    aggregation.add(Document(fields={"n": Value(integer_value=1 if total > 0 else -1)}))

    assert fits == Value(integer_value=total)
    assert aggregation.result() == Value(double_value=float(total))


@pytest.mark.parametrize(
    ("numbers", "total"),
    [
        ([0.1] * 10, 1.0),
        ([1e16, 1.0, -1e16], 1.0),
        ([1.7e308, 1.7e308, 1.0], math.inf),
        ([-math.inf, 1.0, 0.1], -math.inf),
    ],
)
def test_a_sum_of_doubles_has_no_rounding_errors_of_its_additions(numbers: list[float], total: float) -> None:
    """Google's Firestore compensates them: the tests of its Go client expect such sums."""
    aggregation = Aggregation("total", "sum", ("n",), up_to=None)

    for number in numbers:
        aggregation.add(Document(fields={"n": Value(double_value=number)}))

    assert aggregation.result().double_value == total
