"""Conditions of a query. The query selects the documents that meet all of its conditions."""

from storage.firestore import encoding
from storage.firestore.messages import StructuredQuery, Value


def add_condition(query: StructuredQuery, field: str, operator: int, value: object) -> None:
    """Add a condition on a field to a `StructuredQuery`. `operator` is an operator of `StructuredQuery.FieldFilter`."""
    _new_value(query, field, operator).CopyFrom(encoding.to_value(value))


def add_name_condition(query: StructuredQuery, operator: int, name: str) -> None:
    """Add a condition on the name of the documents. `name` is a full document name."""
    _new_value(query, "__name__", operator).reference_value = name


def _new_value(query: StructuredQuery, field: str, operator: int) -> Value:
    """Add a condition without a value. Return the value, which the caller sets."""
    query.where.composite_filter.op = StructuredQuery.CompositeFilter.AND
    condition = query.where.composite_filter.filters.add().field_filter
    condition.field.field_path, condition.op = field, operator
    value: Value = condition.value
    return value
