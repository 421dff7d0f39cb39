"""The cost of an operation: an estimate of its work, made before the operation is executed.

One unit is about one millisecond of CPU time. A submission costs one unit. A field costs little, but a list of
500 items executes each field below it 500 times. The cost therefore depends on the arguments that set the size of a
list, both literals and variables. Lists of the schema (introspection) have the size of this schema.

Fields declare their cost with `declare`. The estimate is an upper bound: it ignores `@skip` and `@include`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_enum_type,
    is_input_object_type,
    is_list_type,
    is_object_type,
)

from graphql_api.errors import TooComplex

_DECLARATION = "cost"
_FIELD_COST = 0.01
_MAX_KNOWN_COSTS = 100
_INTROSPECTED_FIELD_COST = 0.02  # plans do not support introspection


@dataclass(frozen=True, slots=True)
class FieldCost:
    """The cost of resolving a field, without the fields below it."""

    units: float = 0.0
    """Units each time the field is resolved."""

    units_per_item: float = 0.0
    size_arguments: tuple[str, ...] = ()
    """Arguments that set the number of items. If the argument is a list, the number of its elements is used.

    If there are none and each item has units, every argument that is a list sets the number.
    """

    default_size: int = 1
    """The number of items if no size argument is set."""

    max_size: int = 1_000
    """The maximum number of items. The resolver refuses more items."""

    scan_units: float = 0.0
    """Additional units if an argument has one of `scan_members`."""

    scan_members: frozenset[str] = frozenset()
    """Fields of an input object that make the resolver read many more items than it returns."""


def declare(field: GraphQLField, cost: FieldCost) -> None:
    """Declare the cost of a field. If the field is not a list, its items are in the lists directly below it."""
    field.extensions[_DECLARATION] = cost


class OperationCost:
    """The cost of one valid operation. It is computed once unless it depends on variables."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._operation = operation
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._introspected = _introspected_sizes(schema)
        self._cost_variables: dict[str, None] = {}  # in order
        self._scan_members: frozenset[str] = frozenset()
        """The members of input objects that the cost depends on. Clients can send other names, of any length."""
        self._constant = self._measure({})
        self._known: dict[tuple[int | frozenset[str] | None, ...], int] = {}

    @property
    def maximum(self) -> float:
        """The cost with any variables. It is infinite if the cost depends on variables."""
        return math.inf if self._cost_variables else self._constant

    def of(self, variables: Mapping[str, Any]) -> int:
        """Return the cost of the operation with these variables, in units. It is at least 1."""
        if not self._cost_variables:
            return self._constant
        given = (variables.get(name) for name in self._cost_variables)
        key = tuple(_names(value) & self._scan_members if isinstance(value, dict) else _size(value) for value in given)
        cost = self._known.get(key)
        if cost is None:
            cost = self._measure(variables)
            if len(self._known) < _MAX_KNOWN_COSTS:
                self._known[key] = cost
        return cost

    def check(self, cost: int, max_cost: int) -> None:
        """Raise `TooComplex` if `cost` exceeds the limit."""
        if cost > max_cost:
            raise TooComplex(
                f"the operation costs {cost:,} units, and the limit max_operation_cost is {max_cost:,}; request fewer "
                "items with `first` or `last`, select fewer fields, or split the operation",
                limit="max_operation_cost",
            )

    def _measure(self, variables: Mapping[str, Any]) -> int:
        root = self._schema.get_root_type(self._operation.operation)
        defaults = {
            definition.variable.name.value: definition.default_value
            for definition in self._operation.variable_definitions or ()
            if definition.default_value is not None
        }
        cost = self._selections(self._operation.selection_set, root, 1, _Values(variables, defaults))
        return max(1, math.ceil(cost - _FIELD_COST))

    def _selections(self, selected: SelectionSetNode, parent: Any, size: float, values: "_Values") -> float:
        """Return the cost of a selection set. `size` is the number of items of the lists in it."""
        cost = 0.0
        for selection in selected.selections:
            if isinstance(selection, FieldNode):
                cost += self._field(selection, parent, size, values)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                kind = parent if condition is None else self._schema.get_type(condition.name.value)
                cost += self._selections(selection.selection_set, kind, size, values)
            elif isinstance(selection, FragmentSpreadNode):
                fragment = self._fragments[selection.name.value]
                kind = self._schema.get_type(fragment.type_condition.name.value)
                cost += self._selections(fragment.selection_set, kind, size, values)
        return cost

    def _field(self, node: FieldNode, parent: Any, size: float, values: "_Values") -> float:
        field = self._schema.get_field(parent, node.name.value)
        if field is None:
            return 0.0
        kind = get_nullable_type(field.type)
        is_list = is_list_type(kind)
        is_introspected = parent.name.startswith("__")
        declared = field.extensions.get(_DECLARATION)
        cost = _INTROSPECTED_FIELD_COST if is_introspected else _FIELD_COST
        size_below = 1.0
        if isinstance(declared, FieldCost):
            size = size_below = self._size_of_field(node, field, declared, values)
            cost += declared.units + declared.units_per_item * size
            if declared.scan_members:
                self._scan_members |= declared.scan_members
                if not declared.scan_members.isdisjoint(self._members(node, values)):
                    cost += declared.scan_units
        elif is_introspected:
            size = self._introspected.get(node.name.value, 1.0)
        if node.selection_set is not None:
            items = size if is_list or is_introspected else 1.0
            size_below = 1.0 if is_list else size_below
            cost += items * self._selections(node.selection_set, get_named_type(kind), size_below, values)
        return cost

    def _size_of_field(self, node: FieldNode, field: GraphQLField, declared: FieldCost, values: "_Values") -> float:
        for argument in node.arguments or ():
            name = argument.name.value
            is_list = is_list_type(get_nullable_type(field.args[name].type))
            is_input = is_list and declared.units_per_item and not declared.size_arguments
            if is_input or name in declared.size_arguments:
                is_one_item = is_list and isinstance(argument.value, IntValueNode)  # GraphQL makes a list of it
                size = 1 if is_one_item else self._size_of(argument.value, values)
                if size is not None:
                    return max(0, min(size, declared.max_size))
        return declared.default_size

    def _members(self, node: FieldNode, values: "_Values") -> set[str]:
        """Return the names of the fields of all arguments that are input objects."""
        return {name for argument in node.arguments or () for name in self._members_of(argument.value, values)}

    def _members_of(self, node: ValueNode, values: "_Values") -> Iterable[str]:
        if isinstance(node, VariableNode):
            name = node.name.value
            self._cost_variables[name] = None
            given = values.given.get(name, values.defaults.get(name))
            return self._members_of(given, values) if isinstance(given, ValueNode) else _names(given)
        members = node.fields if isinstance(node, ObjectValueNode) else ()
        return [member.name.value for member in members if not isinstance(member.value, NullValueNode)]

    def _size_of(self, node: ValueNode, values: "_Values") -> int | None:
        if isinstance(node, VariableNode):
            name = node.name.value
            self._cost_variables[name] = None
            size = _size(values.given.get(name))
            if size is not None:
                return size
            default = values.defaults.get(name)
            return None if default is None else self._size_of(default, values)
        if isinstance(node, ListValueNode):
            return len(node.values)
        return int(node.value) if isinstance(node, IntValueNode) else None


def _size(value: object) -> int | None:
    """Return the number of items that the value of a variable sets, or None if it sets no number."""
    if isinstance(value, list):
        return len(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return int(value) if isinstance(value, int | float) else None


def _names(value: object) -> frozenset[str]:
    """Return the names of the fields of an input object that are not null."""
    members = value.items() if isinstance(value, dict) else ()
    return frozenset(name for name, member in members if member is not None)


@dataclass(frozen=True, slots=True)
class _Values:
    given: Mapping[str, Any]
    defaults: Mapping[str, ValueNode]


def _introspected_sizes(schema: GraphQLSchema) -> Mapping[str, float]:
    """Return how many items the lists of introspection have on average, by the name of the field."""
    types = list(schema.type_map.values())
    fields = [field for kind in types if is_object_type(kind) for field in kind.fields.values()]
    inputs = [field for kind in types if is_input_object_type(kind) for field in kind.fields]
    enums = [value for kind in types if is_enum_type(kind) for value in kind.values]
    return {
        "types": len(types),
        "directives": len(schema.directives),
        "fields": len(fields) / len(types),
        "args": sum(len(field.args) for field in fields) / max(1, len(fields)),
        "inputFields": len(inputs) / len(types),
        "enumValues": len(enums) / len(types),
        "interfaces": 0.1,
        "possibleTypes": 0.1,
        "ofType": 0.5,
    }
