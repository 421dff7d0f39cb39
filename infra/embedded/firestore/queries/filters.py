"""Filters of a query as tests on a document, all on encoded values.

A filter that compares holds only among values of one kind: `a > 5` never finds a string. A document
without the field is in no filter, not even in a negative one. The trap: to a filter that compares, nothing
equals NaN, and nothing equals or differs from null; only unary filters find the two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.embedded.firestore.encoding import field_paths, number_encoding, resource_names, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import StructuredQuery

FieldOperator = StructuredQuery.FieldFilter.Operator
UnaryOperator = StructuredQuery.UnaryFilter.Operator

MAX_DISJUNCTIONS = 30
MAX_NOT_IN_VALUES = 10

LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL, EQUAL, NOT_EQUAL = "<", "<=", ">", ">=", "==", "!="
CONTAINS, IN, CONTAINS_ANY, NOT_IN = "array-contains", "in", "array-contains-any", "not-in"
INEQUALITIES = frozenset((LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL, NOT_EQUAL, NOT_IN))
RANGES = frozenset((LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL))

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
_compare: dict[str, Callable[[bytes, bytes], bool]] = {
    LESS: lambda value, operand: value < operand,
    LESS_OR_EQUAL: lambda value, operand: value <= operand,
    GREATER: lambda value, operand: value > operand,
    GREATER_OR_EQUAL: lambda value, operand: value >= operand,
}


@dataclass(frozen=True, slots=True)
class FieldTest:
    """One condition on one field; `operands` are encoded values."""

    field: FieldPath
    operator: str
    operands: tuple[bytes, ...]

    def holds(self, document: Any) -> bool:
        """Return whether a document meets the condition."""
        if self.field == DOCUMENT_ID:
            return self._holds(encode_name(resource_names.parse(document.name)))
        value = field_paths.get(document.fields, self.field)
        if value is None:
            return False
        if self.operator == CONTAINS or self.operator == CONTAINS_ANY:
            return any(values.encode(element) in self.operands for element in value.array_value.values)
        return self._holds(values.encode(value))

    def _holds(self, value: bytes) -> bool:
        if self.operator == EQUAL or self.operator == IN:
            return value in self.operands
        if self.operator == NOT_EQUAL or self.operator == NOT_IN:
            return value != values.NULL and value not in self.operands
        operand = self.operands[0]
        return values.type_prefix(value) == values.type_prefix(operand) and _compare[self.operator](value, operand)

    def tests(self) -> Iterator["FieldTest"]:
        """Yield the conditions on fields."""
        yield self


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of these."""

    parts: tuple["Test", ...]

    def holds(self, document: Any) -> bool:
        """Return whether a document meets all."""
        return all(part.holds(document) for part in self.parts)

    def tests(self) -> Iterator[FieldTest]:
        """Yield the conditions on fields."""
        for part in self.parts:
            yield from part.tests()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these."""

    parts: tuple["Test", ...]

    def holds(self, document: Any) -> bool:
        """Return whether a document meets one."""
        return any(part.holds(document) for part in self.parts)

    def tests(self) -> Iterator[FieldTest]:
        """Yield the conditions on fields."""
        for part in self.parts:
            yield from part.tests()


Test = FieldTest | AllOf | AnyOf


def read(message: Any, parent: resource_names.ResourceName) -> Test:
    """Return the test that a Filter message stands for."""
    kind = message.WhichOneof("filter_type")
    if kind == "composite_filter":
        return _composite(message.composite_filter, parent)
    if kind == "field_filter":
        return _field(message.field_filter, parent)
    if kind == "unary_filter":
        return _unary(message.unary_filter)
    raise invalid_argument("A filter must have a filter type.")


def disjunctions(test: Test | None) -> list[tuple[FieldTest, ...]]:
    """Return the alternatives of a filter, each a set of conditions that hold together."""
    if test is None:
        return [()]
    if isinstance(test, AnyOf):
        alternatives = [each for part in test.parts for each in disjunctions(part)]
    elif isinstance(test, AllOf):
        alternatives = [()]
        for part in test.parts:
            further = disjunctions(part)
            if len(alternatives) * len(further) > MAX_DISJUNCTIONS:
                raise invalid_argument(f"The query has more than {MAX_DISJUNCTIONS} disjunctions in normal form.")
            alternatives = [(*one, *other) for one in alternatives for other in further]
    elif test.operator in (EQUAL, IN, CONTAINS, CONTAINS_ANY):
        operator = EQUAL if test.operator in (EQUAL, IN) else CONTAINS
        alternatives = [(FieldTest(test.field, operator, (operand,)),) for operand in dict.fromkeys(test.operands)]
    else:
        alternatives = [(test,)]
    if len(alternatives) > MAX_DISJUNCTIONS:
        raise invalid_argument(f"The query has more than {MAX_DISJUNCTIONS} disjunctions in normal form.")
    for each in alternatives:
        if sum(condition.operator == CONTAINS for condition in each) > 1:
            raise invalid_argument("A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.")
    return alternatives


def _composite(message: Any, parent: resource_names.ResourceName) -> Test:
    parts = tuple(read(each, parent) for each in message.filters)
    if not parts:
        raise invalid_argument("A composite filter must have at least one filter.")
    if message.op == 1:
        return parts[0] if len(parts) == 1 else AllOf(parts)
    if message.op == 2:
        return parts[0] if len(parts) == 1 else AnyOf(parts)
    raise invalid_argument("A composite filter must have an operator.")


def _field(message: Any, parent: resource_names.ResourceName) -> FieldTest:
    field = field_paths.parse(message.field.field_path)
    operator = _operators.get(message.op)
    if operator is None:
        raise invalid_argument("A field filter must have an operator.")
    several = operator in (IN, CONTAINS_ANY, NOT_IN)
    if several:
        operands = list(message.value.array_value.values)
        if message.value.WhichOneof("value_type") != "array_value" or not operands:
            raise invalid_argument(f"'{operator.upper().replace('-', '_')}' requires an non-empty ArrayValue.")
        most = MAX_NOT_IN_VALUES if operator == NOT_IN else MAX_DISJUNCTIONS
        if len(operands) > most:
            raise invalid_argument(f"'{operator.upper().replace('-', '_')}' supports up to {most} comparison values.")
    else:
        operands = [message.value]
    if field == DOCUMENT_ID:
        if operator in (CONTAINS, CONTAINS_ANY):
            raise invalid_argument("the name __key__ is reserved")
        encoded = tuple(encode_name(document_name(each, parent)) for each in operands)
    else:
        encoded = tuple(map(values.encode, operands))
    if operator in (NOT_EQUAL, NOT_IN):
        if values.NULL in encoded:
            return FieldTest(field, IN, ())
        return FieldTest(
            field, operator, tuple(each for each in encoded if each != number_encoding.NAN) or (values.NULL,)
        )
    encoded = tuple(each for each in encoded if each not in (values.NULL, number_encoding.NAN))
    return FieldTest(field, operator, encoded) if encoded else FieldTest(field, IN, ())


def encode_name(name: resource_names.ResourceName) -> bytes:
    """Return a document's name as filters compare it: the database is the same for all."""
    return values.REFERENCE + name.path + values.END


def document_name(value: Any, parent: resource_names.ResourceName) -> resource_names.ResourceName:
    """Return a name to compare `__name__` with: a reference to a document of the same database."""
    if value.WhichOneof("value_type") != "reference_value":
        raise invalid_argument("__key__ filter value must be a Key")
    name = resource_names.parse(value.reference_value)
    if name.database != parent.database:
        raise invalid_argument(
            f"The request was for database '{parent.database}' but was attempting to access database '{name.database}'"
        )
    return name


def _unary(message: Any) -> FieldTest:
    field = field_paths.parse(message.field.field_path)
    tests = {
        2: (EQUAL, (number_encoding.NAN,)),
        3: (EQUAL, (values.NULL,)),
        4: (NOT_EQUAL, (number_encoding.NAN,)),
        5: (NOT_EQUAL, (values.NULL,)),
    }
    if message.op not in tests:
        raise invalid_argument("A unary filter must have an operator.")
    operator, operands = tests[message.op]
    return FieldTest(field, operator, operands)
