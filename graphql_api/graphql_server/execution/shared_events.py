"""Many subscribers who ask the same are answered alike, so the answer is made once.

A source says by the class of its events that they mean the same to everyone who is given them. The trap is what
the answer depends on beside the event: on the document, on the variables it uses below its root fields (those of
the root fields only decide which events there are), and on nothing of the caller, as long as nothing is waited
for: what resolvers wait for was read with the loaders of one caller, and such answers are never shared.
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

Question = tuple[str, str | None, bytes]
"""A document, the name of an operation and the variables that its answers depend on."""


class SharedEvent:
    """An event that is given to many subscriptions, and means the same to each of them."""

    cursor: str = ""
    """From where a subscriber who had this one can go on; empty where it cannot."""

    @cached_property
    def answers(self) -> dict[Question, object]:
        """What was answered, by what was asked."""
        return {}


def uses_variables(document: DocumentNode, operation: OperationDefinitionNode) -> bool:
    """Tell whether variables are used anywhere but in the arguments of the fields at the root."""
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
    return finder.found


class _VariableFinder(Visitor):
    found = False

    def enter_variable(self, *_: object) -> VisitorAction:
        self.found = True
        return BREAK
