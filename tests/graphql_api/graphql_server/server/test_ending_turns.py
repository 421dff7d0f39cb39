"""Requests of clients that disconnect at the same time end one after the other."""

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from graphql_api.graphql_server.server.ending_turns import EndingTurns
from tests.stack import PATIENCE_SECONDS


class Flow(FlowControl):
    """The flow control of a connection that is closed."""

    def __init__(self) -> None:
        super().__init__(cast(asyncio.Transport, None))


async def test_a_few_requests_end_in_an_iteration_of_the_event_loop() -> None:
    """All of them end, and what they send from the disconnect on is discarded."""
    turns = EndingTurns()
    cycles: list[Any] = [SimpleNamespace(disconnected=False, message_event=asyncio.Event()) for _ in range(200)]
    for cycle in cycles:
        turns.wait(cast(RequestResponseCycle, cycle), Flow())
    assert all(cycle.disconnected for cycle in cycles)

    ended = [0]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while ended[-1] < len(cycles):
            await asyncio.sleep(0)
            ended.append(sum(cycle.message_event.is_set() for cycle in cycles))

    assert max(after - before for before, after in pairwise(ended)) <= 32
