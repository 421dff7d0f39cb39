"""The nearest neighbours of a vector, among what a query finds.

Every candidate is looked at, as with a flat index: the result is exact, and memory holds no more than the neighbours
asked for. The trap: distances of two kinds fall as vectors grow alike, a dot product rises; and one that is
no number comes last.
"""

import heapq
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

from infra.embedded.firestore.encoding import field_paths, limits, values
from infra.embedded.firestore.encoding.field_paths import FieldPath
from infra.embedded.firestore.errors import invalid_argument

MAX_NEIGHBOURS = 1000
DOT_PRODUCT = 3

Vector = Sequence[float]
Found = tuple[tuple[bytes, ...], Any]  # a sort key and a document


@dataclass(frozen=True, slots=True)
class Nearest:
    """Which neighbours, by which distance."""

    field: FieldPath
    vector: Vector
    measure: int
    limit: int
    threshold: float | None
    result_field: str

    async def among(self, candidates: AsyncIterator[Found]) -> AsyncIterator[Found]:
        """Yield the neighbours, the nearest first; of equally near ones, the first of the candidates."""
        best: list[tuple[float, int, float, Found]] = []  # worst first
        number = 0
        async for candidate in candidates:
            vector = _vector(field_paths.get(candidate[1].fields, self.field))
            if vector is None or len(vector) != len(self.vector):
                continue
            distance = _distances[self.measure](self.vector, vector)
            nearness = distance if self.measure == DOT_PRODUCT else -distance
            if self.threshold is not None and not self._is_within(distance):
                continue
            number += 1
            entry = (-math.inf if math.isnan(nearness) else nearness, -number, distance, candidate)
            if len(best) < self.limit:
                heapq.heappush(best, entry)
            else:
                heapq.heappushpop(best, entry)
        for _, _, distance, (key, document) in sorted(best, key=lambda entry: entry[:2], reverse=True):
            if self.result_field:
                document.fields[self.result_field].Clear()
                document.fields[self.result_field].double_value = distance
            yield key, document

    def _is_within(self, distance: float) -> bool:
        threshold = self.threshold or 0.0
        return distance >= threshold if self.measure == DOT_PRODUCT else distance <= threshold


def read(structured_query: Any) -> Nearest | None:
    """Return what a StructuredQuery asks for beyond its filters, or refuse it."""
    if not structured_query.HasField("find_nearest"):
        return None
    message = structured_query.find_nearest
    for name in ("limit", "offset"):
        if getattr(structured_query, name) if name == "offset" else structured_query.HasField(name):
            raise invalid_argument(f"A query {name} cannot be used with FindNearest")
    if structured_query.HasField("start_at") or structured_query.HasField("end_at"):
        raise invalid_argument("A cursor cannot be used with FindNearest")
    if message.distance_measure not in _distances:
        raise invalid_argument("Unknown Distance Measure.")
    if not 1 <= message.limit.value <= MAX_NEIGHBOURS:
        raise invalid_argument(f"FindNearest.limit must be a positive integer of no more than {MAX_NEIGHBOURS}")
    if message.query_vector.WhichOneof("value_type") is None:
        raise invalid_argument("Cannot convert firestore.v1.Value with type unset.")
    vector = _vector(message.query_vector)
    if vector is None:
        raise invalid_argument("Query Value must be of type vector.")
    limits.value_size(message.query_vector, "map_value", "query_vector")
    if message.distance_result_field:
        limits.check_field_name(message.distance_result_field)
    return Nearest(
        field=field_paths.parse(message.vector_field.field_path),
        vector=vector,
        measure=message.distance_measure,
        limit=message.limit.value,
        threshold=message.distance_threshold.value if message.HasField("distance_threshold") else None,
        result_field=message.distance_result_field,
    )


def _vector(value: Any | None) -> Vector | None:
    if value is None or value.WhichOneof("value_type") != "map_value" or not values.is_vector(value):
        return None
    return [element.double_value for element in value.map_value.fields["value"].array_value.values]


def _dot_product(one: Vector, other: Vector) -> float:
    try:
        return math.fsum(map(mul, one, other))
    except (OverflowError, ValueError):  # beyond all doubles, or of no sum
        return float(sum(map(mul, one, other)))


def _cosine(one: Vector, other: Vector) -> float:
    lengths = math.sqrt(_dot_product(one, one)) * math.sqrt(_dot_product(other, other))
    return 1 - _dot_product(one, other) / lengths if lengths else math.nan


_distances: dict[int, Callable[[Vector, Vector], float]] = {1: math.dist, 2: _cosine, DOT_PRODUCT: _dot_product}
