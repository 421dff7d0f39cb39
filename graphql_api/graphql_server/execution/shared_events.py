"""Subscription events that are equal for all subscribers, so that their response is encoded only once.

A source yields an instance of a subclass of `SharedEvent`. The response then depends on the event, the document, and
the variables that the document uses below its root fields. Variables in arguments of a root field only select events.

A shared response must not depend on the caller. Resolvers await only values that the loaders of one caller read. A
response is therefore shared only if its resolvers did not await a value.
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
"""A document, the name of an operation, and a digest of the variables that the responses depend on."""


class SharedEvent:
    """An event that many subscriptions receive, and that is equal for all of them."""

    cursor: str = ""
    """The position after which a subscriber can resume. Empty if a subscriber cannot resume."""

    executions: int = 0
    """How often the event was executed, because no response with the same selection key was there."""

    @cached_property
    def responses(self) -> dict[SelectionKey, GraphQLResponse]:
        """The responses that are already encoded for this event, by selection key."""
        return {}


def uses_variables_below_root(document: DocumentNode, operation: OperationDefinitionNode) -> bool:
    """Return whether an operation uses variables outside of the arguments of its root fields."""
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
