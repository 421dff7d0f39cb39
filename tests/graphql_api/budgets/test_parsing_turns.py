"""In each iteration of the event loop, all connections together parse HTTP data for a limited time."""

import asyncio
from collections.abc import Callable
from unittest.mock import Mock

import pytest

from graphql_api.budgets.parsing_turns import ParsingTurns
from tests.reported_errors import reported_errors

NEW, LONG = 0.0, 1.0
"""The seconds that a request has already used."""


class Connections:
    """Connections that note when they parse. Each of them uses one millisecond."""

    def __init__(self, turns: ParsingTurns) -> None:
        self._turns = turns
        self.parsed: list[str] = []

    def parse(self, name: str) -> Callable[[], None]:
        """Return the function with which the connection of this name parses a part."""

        def parse_part() -> None:
            self.parsed.append(name)
            self._turns.use(0.001)

        return parse_part


async def test_many_connections_need_many_iterations() -> None:
    """If all of them parsed in one iteration, they would delay every other client."""
    turns = ParsingTurns()
    connections = Connections(turns)
    for number in range(5):
        turns.wait(connections.parse(str(number)), NEW)

    counts = []
    for _ in range(3):
        await asyncio.sleep(0)
        counts.append(len(connections.parsed))

    assert counts == [2, 4, 5]


async def test_a_request_that_took_long_does_not_delay_new_requests() -> None:
    """It waits in a queue of its own. One request of this queue continues in each iteration."""
    turns = ParsingTurns()
    connections = Connections(turns)
    for number in range(20):
        turns.wait(connections.parse(f"long {number}"), LONG)
    turns.wait(connections.parse("new"), NEW)

    await asyncio.sleep(0)

    assert connections.parsed == ["long 0", "new"]


async def test_a_request_that_took_long_uses_the_time_of_its_turn() -> None:
    """Otherwise, an upload in large chunks would wait as long for each part as one in chunks of one byte."""
    turns = ParsingTurns()
    may_continue = []

    def parse_parts() -> None:
        for _ in range(3):
            turns.use(0.0004)
            may_continue.append(turns.may_parse(LONG))

    turns.wait(parse_parts, LONG)
    turns.wait(Connections(turns).parse("other"), LONG)
    await asyncio.sleep(0)

    assert [*may_continue, turns.may_parse(LONG)] == [True, True, False, False]


@pytest.mark.parametrize("seconds", [NEW, LONG])
async def test_an_error_of_one_connection_does_not_stop_the_others(seconds: float) -> None:
    """The event loop reports the error."""
    turns = ParsingTurns()
    connections = Connections(turns)
    error = MemoryError()
    turns.wait(Mock(side_effect=error), seconds)
    turns.wait(connections.parse("other"), seconds)

    with reported_errors() as reported:
        for _ in range(2):
            await asyncio.sleep(0)

    assert [each["exception"] for each in reported] == [error]
    assert connections.parsed == ["other"]


async def test_a_connection_parses_at_once_while_time_is_left() -> None:
    """Requests of a few clients do not wait for an iteration."""
    turns = ParsingTurns()
    may_parse = []
    for _ in range(3):
        may_parse.append(turns.may_parse(NEW))
        turns.use(0.001)
    await asyncio.sleep(0)

    assert [*may_parse, turns.may_parse(NEW)] == [True, True, False, True]


async def test_a_connection_waits_for_others_of_its_kind() -> None:
    """Otherwise, the data that arrives next would be parsed before the data that waits."""
    turns = ParsingTurns()
    turns.wait(Connections(turns).parse("long"), LONG)

    assert (turns.may_parse(LONG), turns.may_parse(NEW)) == (False, True)
