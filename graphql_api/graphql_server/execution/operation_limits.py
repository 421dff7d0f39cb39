"""Limits on the size of an operation. The size is measured before the operation is validated or executed.

Each fragment is measured once. A spread adds the measure of its fragment, without expanding the fragment. For example,
24 fragments may each spread the next fragment twice. They need only 24 measurements, but count as the millions of
selections to which they expand.

The limits count selections of every kind, not only fields, because a fragment may contain no field.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from graphql_api.errors import TooComplex
from graphql_api.graphql_server.settings import GraphQLSettings

INTROSPECTION_ROOTS = frozenset({"__schema", "__type"})
INTROSPECTION_LISTS = frozenset(
    {"types", "fields", "args", "directives", "enumValues", "inputFields", "interfaces", "possibleTypes"}
)


def check_text(text: str, settings: GraphQLSettings) -> None:
    """Raise `TooComplex` if the text of a document exceeds a limit. The text is checked before it is parsed."""
    for description, number, name in (
        ("characters", len(text), "max_document_length"),
        ("line breaks", text.count("\n") + text.count("\r") - text.count("\r\n"), "max_document_lines"),
        ("backslashes", text.count("\\"), "max_document_escapes"),
    ):
        limit = getattr(settings, name)
        if number > limit:
            raise TooComplex(
                f"the document has more than {limit:,} {description}; send values as variables", limit=name
            )


def check(document: DocumentNode, settings: GraphQLSettings) -> None:
    """Raise `TooComplex` if an operation or fragment of a document exceeds a limit."""
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    measured: dict[str, _Measure] = {}
    for name in _in_spread_order(fragments):
        measured[name] = _measure(fragments[name], measured, settings)
        _check_limits(measured[name], settings)
    total = _Measure()
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            total.add(_measure(definition, measured, settings), 0)
    _check_limits(total, settings)


def too_many_fragments() -> TooComplex:
    """Return the error for an operation whose validation compares or nests too many fragments.

    The work depends on the names of all fragments that are spread together, so it is counted during the validation.
    """
    return TooComplex(
        "the operation spreads too many fragments within other fragments; spread fewer, or split it into several "
        "operations",
        limit="max_comparisons",
    )


@dataclass(slots=True)
class _Measure:
    depth: int = 0
    selections: int = 0
    directives: int = 0
    introspections: int = 0
    introspected_lists: int = 0  # lists below `__schema` or `__type`
    lists: int = 0  # fields with the name of an introspected list, at any position
    comparisons: int = 0
    names: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each top-level response name: the number of fields, and of selections in and below these fields."""

    def add(self, other: "_Measure", depth: int) -> None:
        """Add the measure of selections that are `depth` levels below the top level of this measure."""
        self.depth = max(self.depth, depth + other.depth)
        self.selections += other.selections
        self.directives += other.directives
        self.introspections += other.introspections
        self.introspected_lists += other.introspected_lists
        self.lists += other.lists
        self.comparisons += other.comparisons

    def merge(self, names: dict[str, tuple[int, int]]) -> None:
        """Add the top-level response names of selections that belong to the top level of this measure."""
        for name, (number, size) in names.items():
            own_number, own_size = self.names.get(name, (0, 0))
            self.names[name] = (own_number + number, own_size + size)


def _check_limits(measure: _Measure, settings: GraphQLSettings) -> None:
    for description, number, name in (
        ("is nested {} levels deep", measure.depth, "max_selection_depth"),
        ("selects {} fields and fragments", measure.selections, "max_selections"),
        ("has {} directives", measure.directives, "max_directives"),
        ("selects `__schema` and `__type` {} times", measure.introspections, "max_introspections"),
        ("selects {} lists of the schema", measure.introspected_lists, "max_introspected_lists"),
        ("repeats response names, which needs {} comparisons", measure.comparisons, "max_comparisons"),
    ):
        limit = getattr(settings, name)
        if number > limit:
            counted = str(number) if number < 1_000_000 else "over a million"
            raise TooComplex(
                f"with its fragments expanded, the operation {description.format(counted)}, and the limit is {limit}; "
                "split it into several operations",
                limit=name,
            )


def _measure(
    definition: OperationDefinitionNode | FragmentDefinitionNode,
    fragments: dict[str, _Measure],
    settings: GraphQLSettings,
) -> _Measure:
    measure = _measure_set(definition.selection_set, fragments, settings)
    measure.directives += len(definition.directives or ())
    variables = definition.variable_definitions or ()
    measure.directives += sum(len(variable.directives or ()) for variable in variables)
    return measure


def _measure_set(
    selection_set: SelectionSetNode, fragments: dict[str, _Measure], settings: GraphQLSettings
) -> _Measure:
    """Measure a selection set. The token limit of the parser limits the depth of this recursion."""
    measure = _Measure(depth=1)
    for selection in selection_set.selections:
        measure.selections += 1
        measure.directives += len(selection.directives or ())
        if isinstance(selection, FieldNode):
            _measure_field(selection, measure, fragments, settings)
        elif isinstance(selection, InlineFragmentNode):
            inner = _measure_set(selection.selection_set, fragments, settings)
            measure.add(inner, 0)
            measure.merge(inner.names)
        elif isinstance(selection, FragmentSpreadNode):
            spread = fragments.get(selection.name.value)  # validation reports an unknown fragment
            if spread is not None:
                measure.add(spread, 0)
                measure.merge(spread.names)
    # Validation compares each pair of fields with the same response name, and the selections below the two fields.
    measure.comparisons += sum((number - 1) * size // 2 for number, size in measure.names.values())
    return measure


def _measure_field(
    selection: FieldNode, measure: _Measure, fragments: dict[str, _Measure], settings: GraphQLSettings
) -> None:
    name = selection.name.value
    response_name = selection.alias.value if selection.alias else name
    if len(response_name) > settings.max_name_length:
        raise TooComplex(
            f"expected names of at most {settings.max_name_length} characters in the operation, got a longer name",
            limit="max_name_length",
        )
    size = 1
    if selection.selection_set:
        inner = _measure_set(selection.selection_set, fragments, settings)
        measure.add(inner, 1)
        size += inner.selections
        if name in INTROSPECTION_ROOTS:
            measure.introspected_lists += inner.lists
    if name in INTROSPECTION_ROOTS:
        measure.introspections += 1
    elif name in INTROSPECTION_LISTS:
        measure.lists += 1
    measure.merge({response_name: (1, size)})


def _in_spread_order(fragments: dict[str, FragmentDefinitionNode]) -> Iterator[str]:
    """Yield the name of each fragment after the names of the fragments that it spreads.

    Raises `TooComplex` if a fragment spreads itself.
    """
    done: set[str] = set()
    for root in fragments:
        path = [(root, iter(_spreads(fragments[root])))] if root not in done else []
        entered = {root}
        while path:
            name, spreads = path[-1]
            for spread in spreads:
                if spread in entered and spread not in done:
                    raise TooComplex(
                        "the operation has a fragment that spreads itself, directly or through other fragments"
                    )
                if spread in fragments and spread not in done:
                    entered.add(spread)
                    path.append((spread, iter(_spreads(fragments[spread]))))
                    break
            else:
                path.pop()
                done.add(name)
                yield name


def _spreads(definition: FragmentDefinitionNode) -> Iterator[str]:
    sets = [definition.selection_set]
    while sets:
        for selection in sets.pop().selections:
            if isinstance(selection, FragmentSpreadNode):
                yield selection.name.value
            elif isinstance(selection, FieldNode | InlineFragmentNode) and selection.selection_set:
                sets.append(selection.selection_set)
