"""Vector search: the nearest neighbors of a vector."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition, InvalidArgument
from google.cloud.firestore import Client, CollectionReference, FieldFilter
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.vector import Vector

from tests.infra.firestore.server_process import FirestoreProcess, write_indexes

EUCLIDEAN, COSINE, DOT_PRODUCT = DistanceMeasure.EUCLIDEAN, DistanceMeasure.COSINE, DistanceMeasure.DOT_PRODUCT
VECTORS = {"same": [1.0, 0.0], "right": [0.0, 1.0], "far": [10.0, 10.0], "opposite": [-1.0, 0.0], "zero": [0.0, 0.0]}


@pytest.fixture
def points(collection: CollectionReference) -> Any:
    """Documents with vectors, and documents without a vector of the same dimension."""
    for name, vector in VECTORS.items():
        collection.document(name).set({"at": Vector(vector), "in": {"at": Vector(vector)}})
    collection.document("longer").set({"at": Vector([1.0, 0.0, 0.0])})
    collection.document("array").set({"at": [1.0, 0.0]})
    collection.document("none").set({"n": 1})
    return collection


def near(query: Any, limit: int = 10, measure: Any = EUCLIDEAN, field: str = "at", **options: Any) -> Any:
    """Return the ids and distances of the documents nearest to [1, 0]."""
    search = query.find_nearest(field, Vector([1.0, 0.0]), limit, measure, distance_result_field="distance", **options)
    return [(found.id, found.get("distance")) for found in search.get(retry=None)]


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (EUCLIDEAN, [("same", 0), ("zero", 1), ("right", 2**0.5), ("opposite", 2), ("far", 181**0.5)]),
        (COSINE, [("same", 0), ("far", 1 - 0.5**0.5), ("right", 1), ("opposite", 2), ("zero", None)]),
        (DOT_PRODUCT, [("far", 10), ("same", 1), ("right", 0), ("zero", 0), ("opposite", -1)]),
    ],
)
def test_neighbors_are_sorted_by_distance(points: Any, measure: Any, expected: Any) -> None:
    """A distance that is NaN comes last. Vectors of another dimension are not found."""
    found = near(points, measure=measure)

    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [each for _, each in found if each == each] == pytest.approx(
        [each for _, each in expected if each is not None]
    )


@pytest.mark.parametrize("measure", [COSINE, DOT_PRODUCT])
@pytest.mark.parametrize("huge", [[float("inf"), float("-inf")], [1.7e308, 1.7e308]])
def test_a_vector_with_huge_or_infinite_values_does_not_break_the_search(
    points: Any, measure: Any, huge: list[float]
) -> None:
    """It is found, and the order of the others stays the same."""
    points.document("huge").set({"at": Vector(huge)})

    search = points.find_nearest("at", Vector([1.0, 1.0]), 10, measure)
    found = [each.id for each in search.get(retry=None)]

    assert sorted(found) == sorted([*VECTORS, "huge"])
    assert [each for each in found if each in ("far", "same", "opposite")] == ["far", "same", "opposite"]


def test_a_limit_and_a_threshold_exclude_farther_neighbors(points: Any) -> None:
    """The threshold is a minimum for a dot product and a maximum for a distance."""
    assert [name for name, _ in near(points, 2)] == ["same", "zero"]
    assert [name for name, _ in near(points, distance_threshold=1.5)] == ["same", "zero", "right"]
    assert [name for name, _ in near(points, measure=DOT_PRODUCT, distance_threshold=1.0)] == ["far", "same"]


def test_an_equal_vector_has_a_cosine_distance_of_zero(collection: CollectionReference) -> None:
    """A threshold of zero finds it, although the length of the vector has no exact double."""
    vector = Vector([0.5, -1.0])
    collection.document("same").set({"at": vector})
    collection.document("near").set({"at": Vector([0.5, -1.1])})

    search = collection.find_nearest("at", vector, 10, COSINE, distance_result_field="distance", distance_threshold=0.0)

    assert [(found.id, found.get("distance")) for found in search.get(retry=None)] == [("same", 0)]


def test_filters_projections_and_nested_fields_work_in_a_vector_search(points: Any) -> None:
    """The distance is a field of the result and can be selected."""
    pointing = points.where(filter=FieldFilter("at", "in", [Vector([0.0, 1.0]), Vector([10.0, 10.0])]))

    assert [name for name, _ in near(pointing)] == ["right", "far"]
    assert near(points, 1, field="in.at") == [("same", 0)]
    search = points.select(["distance"]).find_nearest(
        "at", Vector([1.0, 0.0]), 1, EUCLIDEAN, distance_result_field="distance"
    )
    assert [found.to_dict() for found in search.get()] == [{"distance": 0}]


@pytest.mark.parametrize("limit", [0, 1001])
def test_an_invalid_limit_is_rejected(collection: CollectionReference, limit: int) -> None:
    """A limit must be from 1 to 1000."""
    with pytest.raises(InvalidArgument, match="positive integer of no more than 1000"):
        near(collection, limit)


def test_a_search_without_its_vector_index_is_rejected_with_the_definition_to_add(
    own: FirestoreProcess, tmp_path: Path
) -> None:
    """The definition has the fields, dimension and scope. A server with that definition serves the search."""
    path = write_indexes(tmp_path / "firestore.indexes.json", [], [])
    own.options = ["--indexes", str(path)]
    own.start()

    def search(client: Client) -> Any:
        return near(client.collection("points").where(filter=FieldFilter("kind", "==", 1)))

    with pytest.raises(FailedPrecondition, match="Missing vector index configuration") as error:
        search(own.client())
    own.end()
    write_indexes(path, [json.loads(error.value.message.partition("firestore.indexes.json: ")[2])], [])
    own.start()

    client = own.client()
    client.document("points/a").set({"kind": 1, "at": Vector([1.0, 0.0])})
    assert search(client) == [("a", 0)]
    with pytest.raises(FailedPrecondition, match="Missing vector index configuration"):
        near(client.collection("points"))
