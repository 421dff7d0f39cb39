"""Filters and orders of results: bounds on stored fields, as GraphQL and `GET /results` accept them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import ge, gt, le, lt
from typing import Any

from storage.documents import STATISTICS, Result

OPERATORS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
"""The operators of a bound by their public names."""
_INDEXED = [statistic for statistic in STATISTICS.values() if statistic.is_indexed]
INDEXED_FIELDS = (*sorted(["timestamp", *(each.name for each in _INDEXED if not each.is_nullable)]),)
"""The fields that every computed result has. Each composite index of results contains them, in this order."""
FILTER_FIELDS = (*INDEXED_FIELDS, *(each.name for each in _INDEXED if each.is_nullable))
ORDER_FIELDS = ("timestamp", *(each.name for each in _INDEXED), "computed_at")

_COMPARE = {">=": ge, ">": gt, "<=": le, "<": lt}


class Direction(StrEnum):
    """Ascending or descending."""

    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True, slots=True)
class Order:
    """A stored field and a direction."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a range: `operator` is one of `>=`, `>`, `<=`, `<`."""

    field: str
    operator: str
    value: datetime | float | int

    def contains(self, value: Any) -> bool:
        """Return whether `value` is within this bound. As in Firestore, None is outside every bound."""
        return value is not None and bool(_COMPARE[self.operator](value, self.value))


def matches(bounds: Sequence[Bound], result: Result) -> bool:
    """Return whether a computed `result` is within all `bounds`. The comparison is the same as Firestore's."""
    return all(bound.contains(_value(result, bound.field)) for bound in bounds)


def _value(result: Result, field: str) -> Any:
    return result.timestamp if field == "timestamp" else getattr(result.statistics, field)
