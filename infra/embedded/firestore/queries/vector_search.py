"""Vector search: the nearest neighbors of a vector among the results of a query.

The search compares every candidate, as with a flat index, so the result is exact. Memory holds at most the requested
number of documents.

Note: similar vectors have a small Euclidean or cosine distance, but a large dot product. A NaN distance sorts last.
"""

import heapq
import math
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

from infra.embedded.firestore.encoding import field_paths, limits, values
from infra.embedded.firestore.encoding.field_paths import FieldPath
from infra.embedded.firestore.errors import invalid_argument

MAX_NEIGHBORS = 1000
EUCLIDEAN, COSINE, DOT_PRODUCT = 1, 2, 3

Vector = Sequence[float]
Candidate = tuple[tuple[bytes, ...], Any]
"""A sort key and a Document message."""


@dataclass(frozen=True, slots=True)
class FindNearest:
    """A search for neighbors, as StructuredQuery.FindNearest describes it."""

    field: FieldPath
    vector: Vector
    distance_measure: int
    limit: int
    distance_threshold: float | None
    distance_result_field: str

    async def search(self, candidates: AsyncIterator[Candidate]) -> AsyncIterator[Candidate]:
        """Yield the nearest candidates, nearest first. Candidates with equal distances keep their order."""
        nearest: list[tuple[float, int, float, Candidate]] = []  # a heap; its first entry is the least similar
        number = 0
        async for candidate in candidates:
            vector = _vector(field_paths.get(candidate[1].fields, self.field))
            if vector is None or len(vector) != len(self.vector):
                continue
            distance = _distances[self.distance_measure](self.vector, vector)
            similarity = distance if self.distance_measure == DOT_PRODUCT else -distance
            if self.distance_threshold is not None and not self._is_within_threshold(distance):
                continue
            number += 1
            entry = (-math.inf if math.isnan(similarity) else similarity, -number, distance, candidate)
            if len(nearest) < self.limit:
                heapq.heappush(nearest, entry)
            else:
                heapq.heappushpop(nearest, entry)
        for _, _, distance, (key, document) in sorted(nearest, key=lambda entry: entry[:2], reverse=True):
            if self.distance_result_field:
                document.fields[self.distance_result_field].Clear()
                document.fields[self.distance_result_field].double_value = distance
            yield key, document

    def _is_within_threshold(self, distance: float) -> bool:
        threshold = self.distance_threshold or 0.0
        return distance >= threshold if self.distance_measure == DOT_PRODUCT else distance <= threshold


def read(structured_query: Any) -> FindNearest | None:
    """Return the vector search of a StructuredQuery message, or None if it has no `find_nearest`.

    Raise `StatusError` if the vector search is not valid.
    """
    if not structured_query.HasField("find_nearest"):
        return None
    message = structured_query.find_nearest
    if structured_query.HasField("limit"):
        raise invalid_argument("A query limit cannot be used with FindNearest")
    if structured_query.offset:
        raise invalid_argument("A query offset cannot be used with FindNearest")
    if structured_query.HasField("start_at") or structured_query.HasField("end_at"):
        raise invalid_argument("A cursor cannot be used with FindNearest")
    if message.distance_measure not in _distances:
        raise invalid_argument("Unknown Distance Measure.")
    if not 1 <= message.limit.value <= MAX_NEIGHBORS:
        raise invalid_argument(f"FindNearest.limit must be a positive integer of no more than {MAX_NEIGHBORS}")
    if not math.isfinite(message.distance_threshold.value):
        raise invalid_argument("distanceThreshold must be a finite number.")
    if message.query_vector.WhichOneof("value_type") is None:
        raise invalid_argument("Cannot convert firestore.v1.Value with type unset.")
    vector = _vector(message.query_vector)
    if vector is None:
        raise invalid_argument("Query Value must be of type vector.")
    limits.value_size(message.query_vector, "map_value", "query_vector")
    if message.distance_result_field:
        limits.check_field_name(message.distance_result_field)
    return FindNearest(
        field=field_paths.parse(message.vector_field.field_path),
        vector=vector,
        distance_measure=message.distance_measure,
        limit=message.limit.value,
        distance_threshold=message.distance_threshold.value if message.HasField("distance_threshold") else None,
        distance_result_field=message.distance_result_field,
    )


def _vector(value: Any | None) -> Vector | None:
    if value is None or value.WhichOneof("value_type") != "map_value" or not values.is_vector(value):
        return None
    return [element.double_value for element in value.map_value.fields["value"].array_value.values]


def _dot_product(one: Vector, other: Vector) -> float:
    try:
        return math.fsum(map(mul, one, other))
    except (OverflowError, ValueError):  # fsum rejects sums that are infinite or NaN
        return float(sum(map(mul, one, other)))


def _cosine(one: Vector, other: Vector) -> float:
    square, other_square = _dot_product(one, one), _dot_product(other, other)
    squares = square * other_square
    if sys.float_info.min <= squares <= sys.float_info.max:
        lengths = math.sqrt(squares)  # exact if the squares are equal: the distance of equal vectors is 0
    else:
        lengths = math.sqrt(square) * math.sqrt(other_square)
    return 1 - _dot_product(one, other) / lengths if lengths else math.nan


_distances: dict[int, Callable[[Vector, Vector], float]] = {
    EUCLIDEAN: math.dist,
    COSINE: _cosine,
    DOT_PRODUCT: _dot_product,
}
