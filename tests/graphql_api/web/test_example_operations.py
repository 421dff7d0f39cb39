"""What the pages ask is in the contract, and so is each of their examples."""

import json
import re
from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

from graphql_api.web.pages import DASHBOARD_FOLDER, GRAPHIQL_FOLDER

OPERATIONS = sorted((DASHBOARD_FOLDER / "src" / "operations").glob("*.graphql"))
TABS = (GRAPHIQL_FOLDER / "page" / "tabs.js").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"const (\w+) = `([^`]+\{[^`]+)`;", TABS))


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """Return the published contract."""
    return build_schema(Path("schema.graphql").read_text(encoding="utf-8"))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda path: path.stem)
def test_the_dashboard_asks_for_what_there_is(schema: GraphQLSchema, operation: Path) -> None:
    """No field is missing or renamed, no argument of another type."""
    assert validate(schema, parse(operation.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("name", [name for name, text in EXAMPLES.items() if not text.startswith("{")])
def test_the_examples_of_graphiql_ask_for_what_there_is(schema: GraphQLSchema, name: str) -> None:
    """A newcomer presses play and is answered."""
    assert validate(schema, parse(EXAMPLES[name])) == []


@pytest.mark.parametrize("name", [name for name, text in EXAMPLES.items() if text.startswith("{")])
def test_the_ready_variables_are_json(name: str) -> None:
    """As the editor takes them."""
    assert json.loads(EXAMPLES[name])
