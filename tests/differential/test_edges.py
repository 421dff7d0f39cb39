"""Requests at the edge of what is allowed: what the embedded Firestore answers, and whether the emulator agrees."""

from typing import Any

import pytest
from google.cloud.firestore_v1.vector import Vector

from tests.differential import query_edges, write_edges
from tests.differential.differences import DIFFERENCES
from tests.differential.requests import Step
from tests.differential.sides import Side

EDGES: dict[str, tuple[Step, Any]] = {
    **{
        name: (step, "INVALID_ARGUMENT") for edges in (write_edges, query_edges) for name, step in edges.REFUSED.items()
    },
    **write_edges.ANSWERED,
    **query_edges.ANSWERED,
}


def answer(side: Side, name: str) -> Any:
    """Return what one server answers in a project with two documents."""
    side.start_over(f"edge-{[*EDGES].index(name):06}")
    nan = float("nan")
    two, three = Vector([2.0]), Vector([3.0])
    fields = {"a": 1, "nan": nan, "null": None, "list": [1, None, nan], "vector": two, "map": {"vector": three}}
    side.client.document("a/x").set(fields)
    side.client.document("a/x/a/y").set({"a": 1, "vector": three})
    return side.answer(EDGES[name][0])[0]


@pytest.mark.parametrize("name", EDGES)
def test_an_edge(embedded: Side, name: str) -> None:
    """It is on the side of the edge where production's is."""
    assert answer(embedded, name) == EDGES[name][1]


@pytest.mark.parametrize("name", EDGES)
def test_the_emulator_agrees(emulator: Side, name: str) -> None:
    """It answers the same, or it is known to answer something else, and why."""
    expected = EDGES[name][1]
    listed, _ = DIFFERENCES.get(name, (expected, ""))

    assert answer(emulator, name) in (listed, expected)


def test_every_difference_is_about_an_edge() -> None:
    """A row that is about nothing would excuse nothing."""
    assert DIFFERENCES.keys() <= EDGES.keys()
