"""Subscription events that are the same for every subscriber, so that each response is encoded once.

A source yields a subclass of `SharedEvent` for such an event. The response then depends on the event, the document
and the variables that the document uses below its root fields. (The variables of the root fields only select events.)
It must not depend on the caller. A response is therefore shared only if its resolvers awaited nothing: the values
they await are read with the loaders of one caller.
"""

from functools import cached_property

from graphql import (
    BREAK,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    OperationDefinitionNode,
    Visitor,
    VisitorAction,
    visit,
)

from graphql_api.graphql_server.execution.responses import GraphQLResponse

SelectionKey = tuple[str, str | None, bytes]
"""A document, the name of an operation, and a digest of the variables that its responses depend on."""


class SharedEvent:
    """An event that many subscriptions receive, with the same meaning for each."""

    cursor: str = ""
    """The position after which a subscriber can resume, or empty if it cannot."""

    @cached_property
    def responses(self) -> dict[SelectionKey, GraphQLResponse]:
        """The responses that were encoded for this event."""
        return {}


def uses_variables_below_root(document: DocumentNode, operation: OperationDefinitionNode) -> bool:
    """Tell whether an operation uses variables anywhere but in the arguments of its root fields."""
    finder = _VariableFinder()
    for definition in document.definitions:
        if isinstance(definition, FragmentDefinitionNode):
            visit(definition, finder)
    for selection in operation.selection_set.selections:
        if isinstance(selection, FieldNode):
            for part in (*(selection.directives or ()), selection.selection_set):
                if part is not None:
                    visit(part, finder)
        else:
            visit(selection, finder)
    return finder.has_found


class _VariableFinder(Visitor):
    has_found = False

    def enter_variable(self, *_: object) -> VisitorAction:
        self.has_found = True
        return BREAK
