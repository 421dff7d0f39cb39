"""Restrictions: combinations of filters and orders that production rejects even if all indexes exist.

The restrictions apply to the query as the client sent it, before normalization. An OR with one part is therefore still
an OR. Error messages repeat production's words.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from infra.embedded.firestore.encoding import field_paths, resource_names
from infra.embedded.firestore.errors import failed_precondition, invalid_argument
from infra.embedded.firestore.messages import StructuredQuery
from infra.embedded.firestore.queries import filters

FieldOperator = StructuredQuery.FieldFilter.Operator
UnaryOperator = StructuredQuery.UnaryFilter.Operator

MAX_CONDITIONS = 100
MAX_INEQUALITY_FIELDS = 10

_NAME = "__name__"
_OR = StructuredQuery.CompositeFilter.Operator.OR
_NEGATIONS = {"NOT_EQUAL", "NOT_IN", "IS_NOT_NAN", "IS_NOT_NULL"}
_DISJUNCTIVE = {"IN", "ARRAY_CONTAINS_ANY", "OR"}
_WITH_OPERANDS = {FieldOperator.IN, FieldOperator.ARRAY_CONTAINS_ANY, FieldOperator.NOT_IN}


def check_size(message: Any, parent: resource_names.ResourceName) -> None:
    """Raise `StatusError` if a StructuredQuery has too many parts. Call this before other code reads the parts.

    An operand of `in`, `not-in` or `array-contains-any` counts as a condition. A query that has a parent document has
    one more condition. Repeated conditions count each time.
    """
    max_conditions = MAX_CONDITIONS - len(message.order_by) - bool(parent.segments)
    conditions = _operands(message.where) if message.HasField("where") else iter(())
    if max_conditions < 0 or next(islice(conditions, max_conditions, None), None) is not None:
        raise invalid_argument(
            f"The query may not have more than {MAX_CONDITIONS} filters + sort orders + ancestor total."
        )


def _operands(message: Any) -> Iterator[Any]:
    """Yield each value that a filter compares with, and each unary filter."""
    filter_type = message.WhichOneof("filter_type")
    if filter_type == "composite_filter":
        for part in message.composite_filter.filters:
            yield from _operands(part)
    elif filter_type == "field_filter" and message.field_filter.op in _WITH_OPERANDS:
        yield from message.field_filter.value.array_value.values
    else:
        yield message


def check(
    message: Any, where: filters.Filter | None, aggregated: Sequence[str], parent: resource_names.ResourceName
) -> None:
    """Raise `StatusError` if the parts of a StructuredQuery conflict.

    `where` is its parsed filter, and `aggregated` are the fields of aggregations. `parent` is the parent of the query.
    """
    conditions = list(_conditions(message.where)) if message.HasField("where") else []
    unequal = set(map(field_paths.to_text, filters.unequal_fields(where)))
    if len(message.from_) == 1 and not message.from_[0].collection_id:
        _check_all_collections(message.order_by, conditions)
    _check_filters(conditions, unequal)
    _check_orders(message.order_by, conditions, unequal)
    if parent.segments and message.from_[0].all_descendants:  # the descendants of a document are a range of names
        conditions.append((_NAME, "GREATER_THAN"))
    _check_aggregated(message.order_by, conditions, unequal, aggregated)
    if aggregated and message.HasField("select"):
        raise invalid_argument("Cannot apply property masks when aggregation fields are present.")


Condition = tuple[str, str]
"""A field path and the name of an operator. For an OR, the field path is empty."""


def _check_all_collections(order_by: Sequence[Any], conditions: Sequence[Condition]) -> None:
    for field, operator in conditions:
        if field != _NAME and operator != "OR":
            raise invalid_argument(f"kind is required for filter: {field}")
    descending = StructuredQuery.Direction.DESCENDING
    if any(_canonical(order.field) != _NAME or order.direction == descending for order in order_by):
        raise invalid_argument("kind is required for all orders except __key__ ascending")


def _check_filters(conditions: Sequence[Condition], unequal: set[str]) -> None:
    if len(unequal) > MAX_INEQUALITY_FIELDS:
        raise invalid_argument(f"A query may not have more than {MAX_INEQUALITY_FIELDS} distinct inequality fields.")
    operators = [operator for _, operator in conditions]
    if sum(operator in _NEGATIONS for operator in operators) > 1:
        raise invalid_argument(
            "Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed per query."
        )
    if "NOT_IN" in operators and not _DISJUNCTIVE.isdisjoint(operators):
        raise invalid_argument("'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'.")
    if unequal and _NAME not in unequal and any(field == _NAME for field, _ in conditions):
        raise invalid_argument(
            "Equality on key is not allowed if there are other inequality fields and key does not appear in "
            "inequalities."
        )


def _check_orders(order_by: Sequence[Any], conditions: Sequence[Condition], unequal: set[str]) -> None:
    orders = [_canonical(order.field) for order in order_by]
    for index, field in enumerate(orders):
        if field in orders[:index]:
            raise invalid_argument(f"order by clause cannot contain duplicate fields {field}")
    if _NAME in orders and (orders[-1] != _NAME or unequal - set(orders)):
        raise invalid_argument("order by clause cannot contain more fields after the key")
    descending = orders == [_NAME] and order_by[0].direction == StructuredQuery.Direction.DESCENDING
    if descending and all(field == _NAME for field, operator in conditions if operator != "OR"):
        raise failed_precondition("Firestore does not support descending key scans")


def _check_aggregated(
    order_by: Sequence[Any], conditions: Sequence[Condition], unequal: set[str], aggregated: Sequence[str]
) -> None:
    orders = [_canonical(order.field) for order in order_by]
    after_name = [field for field in aggregated if field not in orders and field not in unequal]
    if after_name and (_NAME in orders or any(field == _NAME for field, _ in conditions)):
        raise invalid_argument(
            f"This query requires an index that has fields [{', '.join(after_name)}] after __name__ and Firestore does "
            "not currently support such an index. Please try the query again with additional ordering on those fields."
        )


def _conditions(message: Any) -> Iterator[Condition]:
    """Yield every condition of a filter, and every OR."""
    filter_type = message.WhichOneof("filter_type")
    if filter_type == "composite_filter":
        if message.composite_filter.op == _OR:
            yield "", "OR"
        for part in message.composite_filter.filters:
            yield from _conditions(part)
    elif filter_type == "field_filter":
        yield _canonical(message.field_filter.field), FieldOperator.Name(message.field_filter.op)
    elif filter_type == "unary_filter":
        yield _canonical(message.unary_filter.field), UnaryOperator.Name(message.unary_filter.op)


def _canonical(field: Any) -> str:
    """Return the path of a FieldReference message with quotes only where they are necessary."""
    return field_paths.to_text(field_paths.parse(field.field_path))
