"""Edge cases: the embedded Firestore follows the documentation, and the emulator agrees or differs as listed."""

from typing import Any

import pytest
from google.cloud.firestore_v1.vector import Vector

from tests.differential import query_edges, write_edges
from tests.differential.compared_servers import ComparedServer
from tests.differential.differences import DIFFERENCES
from tests.differential.requests import Step

EDGES: dict[str, tuple[Step, Any]] = {
    **{
        name: (step, "INVALID_ARGUMENT") for edges in (write_edges, query_edges) for name, step in edges.REFUSED.items()
    },
    **write_edges.ACCEPTED,
    **query_edges.ACCEPTED,
}


def result(server: ComparedServer, name: str) -> Any:
    """Return the result of an edge case in a project with two documents."""
    server.use_empty_project(f"edge-{[*EDGES].index(name):06}")
    nan = float("nan")
    two, three = Vector([2.0]), Vector([3.0])
    fields = {"a": 1, "nan": nan, "null": None, "list": [1, None, nan], "vector": two, "map": {"vector": three}}
    server.client.document("a/x").set(fields)
    server.client.document("a/x/a/y").set({"a": 1, "vector": three})
    return server.run(EDGES[name][0])[0]


@pytest.mark.parametrize("name", EDGES)
def test_an_edge_case_has_the_documented_result(embedded: ComparedServer, name: str) -> None:
    """The embedded Firestore accepts and refuses the same requests as production."""
    assert result(embedded, name) == EDGES[name][1]


@pytest.mark.parametrize("name", EDGES)
def test_the_emulator_agrees_or_differs_as_listed(emulator: ComparedServer, name: str) -> None:
    """`differences.py` lists the other result and the reason."""
    expected = EDGES[name][1]
    listed, _ = DIFFERENCES.get(name, (expected, ""))

    assert result(emulator, name) in (listed, expected)


def test_every_listed_difference_is_an_edge_case() -> None:
    """A row with an unknown name has no effect."""
    assert DIFFERENCES.keys() <= EDGES.keys()
