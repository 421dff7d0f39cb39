"""Filters of a query, evaluated on encoded values.

A comparison matches only values of the same type: `a > 5` never matches a string. A document without the field does
not match any filter, not even `!=` or `not-in`.

Note: the operands NaN and null match nothing, except with `!=` and `not-in`. To find NaN or null, use a unary filter.
Such an operand counts as a disjunction. A condition with only such operands is not an inequality.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.embedded.firestore.encoding import field_paths, limits, number_encoding, resource_names, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.errors import invalid_argument

MAX_DISJUNCTIONS = 30
MAX_NOT_IN_VALUES = 10

LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL, EQUAL, NOT_EQUAL = "<", "<=", ">", ">=", "==", "!="
CONTAINS, IN, CONTAINS_ANY, NOT_IN = "array-contains", "in", "array-contains-any", "not-in"
RANGES = frozenset((LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL))
INEQUALITIES = RANGES | {NOT_EQUAL, NOT_IN}

_NOTHING = b""
"""An operand that replaces null and NaN in a comparison. No value equals it."""

_AND, _OR = 1, 2
_operators = {
    1: LESS,
    2: LESS_OR_EQUAL,
    3: GREATER,
    4: GREATER_OR_EQUAL,
    5: EQUAL,
    6: NOT_EQUAL,
    7: CONTAINS,
    8: IN,
    9: CONTAINS_ANY,
    10: NOT_IN,
}
_unary_operators = {
    2: (EQUAL, number_encoding.NAN),
    3: (EQUAL, values.NULL),
    4: (NOT_EQUAL, number_encoding.NAN),
    5: (NOT_EQUAL, values.NULL),
}


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """A condition on one field. `operands` contains encoded values."""

    field: FieldPath
    operator: str
    operands: tuple[bytes, ...]

    def matches(self, document: Any) -> bool:
        """Return whether a document meets the condition."""
        if self.field == DOCUMENT_ID:
            return self.matches_value(_encode_name(resource_names.parse(document.name)))
        value = field_paths.get(document.fields, self.field)
        if value is None:
            return False
        if self.operator == CONTAINS or self.operator == CONTAINS_ANY:
            return any(values.encode(element) in self.operands for element in value.array_value.values)
        return self.matches_value(values.encode(value))

    def matches_value(self, value: bytes) -> bool:
        """Return whether the encoded value of the field meets the condition. Do not use this for array-contains."""
        if self.operator == EQUAL or self.operator == IN:
            return value in self.operands
        if self.operator == NOT_EQUAL or self.operator == NOT_IN:
            return value != values.NULL and value not in self.operands and _NOTHING not in self.operands
        low, high = self.limits()
        return low <= value < high

    def limits(self) -> tuple[bytes, bytes]:
        """Return the lower and the excluded upper limit of the encoded values that meet a comparison."""
        (operand,) = self.operands
        same_type = values.type_prefix(operand)
        limit = operand if self.operator in (LESS, GREATER_OR_EQUAL) else operand + b"\0"
        if self.operator in (GREATER, GREATER_OR_EQUAL):
            return limit, same_type[:-1] + bytes((same_type[-1] + 1,))
        return same_type, limit

    def field_filters(self) -> Iterator["FieldFilter"]:
        """Yield every condition on a field."""
        yield self


@dataclass(frozen=True, slots=True)
class AndFilter:
    """Matches a document that matches all parts."""

    parts: tuple["Filter", ...]

    def matches(self, document: Any) -> bool:
        """Return whether a document matches."""
        return all(part.matches(document) for part in self.parts)

    def field_filters(self) -> Iterator[FieldFilter]:
        """Yield every condition on a field."""
        for part in self.parts:
            yield from part.field_filters()


@dataclass(frozen=True, slots=True)
class OrFilter:
    """Matches a document that matches at least one part."""

    parts: tuple["Filter", ...]

    def matches(self, document: Any) -> bool:
        """Return whether a document matches."""
        return any(part.matches(document) for part in self.parts)

    def field_filters(self) -> Iterator[FieldFilter]:
        """Yield every condition on a field."""
        for part in self.parts:
            yield from part.field_filters()


Filter = FieldFilter | AndFilter | OrFilter


def unequal_fields(where: Filter | None) -> set[FieldPath]:
    """Return the fields of the inequalities in a filter."""
    return {each.field for each in where.field_filters() if each.operator in INEQUALITIES} if where else set()


Disjunction = tuple[FieldFilter, ...]
"""Conditions that must all be met."""


def satisfiable_disjunctions(where: Filter | None) -> list[Disjunction]:
    """Return the disjunctions of a filter that a document can match: it must meet all their conditions.

    Disjunctions with the same conditions are one disjunction. Those that match nothing count towards the maximum.
    """
    disjunctions = _disjunctive_normal_form(where)
    return [each for each in disjunctions if not any(_NOTHING in condition.operands for condition in each)]


def _disjunctive_normal_form(where: Filter | None) -> list[Disjunction]:
    if where is None:
        return [()]
    if isinstance(where, OrFilter):
        return _distinct(each for part in where.parts for each in _disjunctive_normal_form(part))
    if isinstance(where, AndFilter):
        disjunctions: list[Disjunction] = [()]
        for part in where.parts:
            further = _disjunctive_normal_form(part)
            disjunctions = _distinct(_merged(one, other) for one in disjunctions for other in further)
        return disjunctions
    if where.operator in (EQUAL, IN, CONTAINS, CONTAINS_ANY):
        operator = EQUAL if where.operator in (EQUAL, IN) else CONTAINS
        return [(FieldFilter(where.field, operator, (operand,)),) for operand in where.operands]
    return [(where,)]


def _merged(one: Disjunction, other: Disjunction) -> Disjunction:
    if sum(condition.operator == CONTAINS for condition in (*one, *other)) > 1:
        raise invalid_argument("A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.")
    return tuple(dict.fromkeys((*one, *other)))


def _distinct(disjunctions: Iterable[Disjunction]) -> list[Disjunction]:
    """Return the disjunctions without repetitions, or raise `StatusError` if there are too many."""
    distinct = list({frozenset(each): each for each in disjunctions}.values())
    if len(distinct) > MAX_DISJUNCTIONS:
        raise invalid_argument(f"The query has more than {MAX_DISJUNCTIONS} disjunctions in normal form.")
    return distinct


def read(message: Any, parent: resource_names.ResourceName) -> Filter:
    """Return the filter that a StructuredQuery.Filter message describes, or raise `StatusError`."""
    filter_type = message.WhichOneof("filter_type")
    if filter_type == "composite_filter":
        return _read_composite(message.composite_filter, parent)
    if filter_type == "field_filter":
        return _read_field(message.field_filter, parent)
    if filter_type == "unary_filter":
        return _read_unary(message.unary_filter)
    raise invalid_argument("A filter must have a filter type.")


def _read_composite(message: Any, parent: resource_names.ResourceName) -> Filter:
    parts = tuple(dict.fromkeys(read(each, parent) for each in message.filters))
    if not parts:
        raise invalid_argument("A composite filter must have at least one filter.")
    if message.op not in (_AND, _OR):
        raise invalid_argument("A composite filter must have an operator.")
    if len(parts) == 1:
        return parts[0]
    return AndFilter(parts) if message.op == _AND else OrFilter(parts)


def _read_field(message: Any, parent: resource_names.ResourceName) -> FieldFilter:
    field = field_paths.parse(message.field.field_path)
    operator = _operators.get(message.op)
    if operator is None:
        raise invalid_argument("A field filter must have an operator.")
    operands = _operands(message.value, operator)
    if field == DOCUMENT_ID:
        if operator in (CONTAINS, CONTAINS_ANY):
            raise invalid_argument("the name __key__ is reserved")
        encoded = {_encode_name(_read_name(each, parent)) for each in operands}
    else:
        for operand in operands:
            if limits.check_operand(operand, message.field.field_path) > values.MAX_INDEXED_BYTES:
                raise invalid_argument(f"value for {message.field.field_path} is too large to be used in a query")
        encoded = set(map(values.encode, operands))
    is_negation = operator in (NOT_EQUAL, NOT_IN)
    incomparable = {values.NULL} if is_negation else {values.NULL, number_encoding.NAN}
    comparable = {_NOTHING if each in incomparable else each for each in encoded}
    if comparable == {_NOTHING} and operator in INEQUALITIES:
        operator = EQUAL
    if is_negation:
        comparable = comparable - {number_encoding.NAN} or {values.NULL}
    return FieldFilter(field, operator, tuple(sorted(comparable)))


def _operands(value: Any, operator: str) -> Sequence[Any]:
    if operator not in (IN, CONTAINS_ANY, NOT_IN):
        return [value]
    name = operator.upper().replace("-", "_")
    operands = list(value.array_value.values)
    if value.WhichOneof("value_type") != "array_value" or not operands:
        raise invalid_argument(f"'{name}' requires an non-empty ArrayValue.")
    max_operands = MAX_NOT_IN_VALUES if operator == NOT_IN else MAX_DISJUNCTIONS
    if len(operands) > max_operands:
        raise invalid_argument(f"'{name}' supports up to {max_operands} comparison values.")
    return operands


def _encode_name(name: resource_names.ResourceName) -> bytes:
    """Return a document name as bytes for comparison. They omit the database, which is the same in all names."""
    return values.REFERENCE + name.path + values.END


def _read_name(value: Any, parent: resource_names.ResourceName) -> resource_names.ResourceName:
    """Return the name that a filter on `__name__` compares with. It must be in the database of the query."""
    if value.WhichOneof("value_type") != "reference_value":
        raise invalid_argument("__key__ filter value must be a Key")
    name = resource_names.parse(value.reference_value)
    if name.database != parent.database:
        raise invalid_argument(
            f"The request was for database '{parent.database}' but was attempting to access database '{name.database}'"
        )
    return resource_names.parse_document(value.reference_value, parent.database)


def _read_unary(message: Any) -> FieldFilter:
    field = field_paths.parse(message.field.field_path)
    if message.op not in _unary_operators:
        raise invalid_argument("A unary filter must have an operator.")
    if field == DOCUMENT_ID:
        raise invalid_argument("__key__ filter value must be a Key")
    operator, operand = _unary_operators[message.op]
    return FieldFilter(field, operator, (operand,))
