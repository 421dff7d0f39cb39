"""Filters and orders: bounds on stored fields, and labels, as GraphQL and `GET /results` accept them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from operator import ge, gt, le, lt
from typing import Any

from storage.documents import STATISTICS, Labels, Result, labels
from storage.documents.statistics import INDEXED_FIELDS

OPERATORS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
"""The operators of a bound by their public names."""
_INDEXED = [statistic for statistic in STATISTICS.values() if statistic.is_indexed]
FILTER_FIELDS = (*INDEXED_FIELDS, *(each.name for each in _INDEXED if each.is_nullable))
LABEL_ORDER = "timestamp"
"""The only order for results that are filtered by labels. Each further order would need an index with up to 15 more
entries per result.
"""
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


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects the documents that are within all `bounds` and have all `labels`."""

    bounds: Sequence[Bound] = ()
    labels: Labels = field(default_factory=dict)

    @property
    def is_everything(self) -> bool:
        """Whether this selects all documents."""
        return not self.bounds and not self.labels

    @property
    def label_term(self) -> str | None:
        """The index term of the documents that have all labels, or None without labels."""
        return labels.term(self.labels) if self.labels else None

    def matches(self, result: Result) -> bool:
        """Return whether this selects a computed `result`. Values are compared as in Firestore."""
        if not all(bound.contains(_value(result, bound.field)) for bound in self.bounds):
            return False
        return all(result.labels.get(name) == value for name, value in self.labels.items())


EVERYTHING = Selection()


def _value(result: Result, field: str) -> Any:
    return result.timestamp if field == "timestamp" else getattr(result.statistics, field)
