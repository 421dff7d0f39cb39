"""What may stand together in one query: rules of production that no index could make up for.

They speak of the query as it was sent, before alternatives are worked out: an OR of one part is an OR.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from infra.embedded.firestore.errors import failed_precondition, invalid_argument
from infra.embedded.firestore.messages import StructuredQuery

FieldOperator = StructuredQuery.FieldFilter.Operator
UnaryOperator = StructuredQuery.UnaryFilter.Operator

_KEY = "__name__"
_OR = StructuredQuery.CompositeFilter.Operator.OR
_NEGATIONS = {"NOT_EQUAL", "NOT_IN", "IS_NOT_NAN", "IS_NOT_NULL"}
_INEQUALITIES = _NEGATIONS | {"LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL"}
_ALTERNATIVES = {"IN", "ARRAY_CONTAINS_ANY", "OR"}


def check(message: Any, also_by: Sequence[str]) -> None:
    """Refuse a StructuredQuery whose parts cannot stand together; `also_by` are fields of aggregations."""
    parts = list(_parts(message.where)) if message.HasField("where") else []
    operators = [operator for _, operator in parts]
    unequal = {field for field, operator in parts if operator in _INEQUALITIES}
    if sum(operator in _NEGATIONS for operator in operators) > 1:
        raise invalid_argument(
            "Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed per query."
        )
    if "NOT_IN" in operators and not _ALTERNATIVES.isdisjoint(operators):
        raise invalid_argument("'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'.")
    if unequal and _KEY not in unequal and any(field == _KEY for field, _ in parts):
        raise invalid_argument(
            "Equality on key is not allowed if there are other inequality fields and key does not appear in "
            "inequalities."
        )
    orders = [order.field.field_path for order in message.order_by]
    for index, field in enumerate(orders):
        if field in orders[:index]:
            raise invalid_argument(f"order by clause cannot contain duplicate fields {field}")
    if _KEY in orders and (orders[-1] != _KEY or unequal - set(orders)):
        raise invalid_argument("order by clause cannot contain more fields after the key")
    falling = orders == [_KEY] and message.order_by[0].direction == StructuredQuery.Direction.DESCENDING
    if falling and all(field == _KEY for field, operator in parts if operator != "OR"):
        raise failed_precondition("Firestore does not support descending key scans")
    behind = [field for field in also_by if field not in orders and field not in unequal]
    if behind and (_KEY in orders or any(field == _KEY for field, _ in parts)):
        raise invalid_argument(
            f"This query requires an index that has fields [{', '.join(behind)}] after __name__ and Firestore does "
            "not currently support such an index. Please try the query again with additional ordering on those fields."
        )


def _parts(message: Any) -> Iterator[tuple[str, str]]:
    """Yield field and operator of every condition, and OR of no field."""
    kind = message.WhichOneof("filter_type")
    if kind == "composite_filter":
        if message.composite_filter.op == _OR:
            yield "", "OR"
        for part in message.composite_filter.filters:
            yield from _parts(part)
    elif kind == "field_filter":
        yield message.field_filter.field.field_path, FieldOperator.Name(message.field_filter.op)
    elif kind == "unary_filter":
        yield message.unary_filter.field.field_path, UnaryOperator.Name(message.unary_filter.op)
