"""The validation of a document is divided into steps. Other clients wait for the longest step."""

import pytest
from graphql.validation import validation_context

from graphql_api.graphql_server import GraphQLSettings
from graphql_api.graphql_server.execution import document_validator
from graphql_api.graphql_server.execution.document_parser import parse
from tests.graphql_api.graphql_server.example import make_schema

SETTINGS = GraphQLSettings()
FRAGMENTS = 150
DOCUMENT = "{ ...F1 } " + " ".join(
    f"fragment F{number} on Query {{ {f'...F{number + 1}' if number < FRAGMENTS else 'hello'} }}"
    for number in range(1, FRAGMENTS + 1)
)


def test_the_variables_in_each_fragment_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rules need them. graphql-core finds them once in each step, so these rules are in the same step."""
    searches = 0

    class CountedVisitor(validation_context.VariableUsageVisitor):
        def __init__(self, *arguments: object) -> None:
            nonlocal searches
            searches += 1
            super().__init__(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(validation_context, "VariableUsageVisitor", CountedVisitor)
    document = parse(DOCUMENT, SETTINGS.max_tokens)

    errors = [error for check in document_validator.steps(make_schema(), document, SETTINGS) for error in check()]

    assert errors == []
    assert searches == 1 + FRAGMENTS
