"""Operations of one WebSocket that wait to start, and operations that end together."""

import asyncio

import pytest

from tests.graphql_api.graphql_server.clients import initialized, receive, send, subscribe, wait_until_no_subscriptions
from tests.graphql_api.graphql_server.service import KEY, running
from tests.stack import eventually


def test_few_small_operations_of_a_websocket_wait_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 100 operations of each of 1,000 WebSockets, those that wait would need a gigabyte of memory."""
    waiting, started, most = 0, 0, 0

    async def wait(_: object) -> None:
        nonlocal waiting, most
        waiting += 1
        number = waiting
        while number > started:
            most = max(most, waiting - started)
            await asyncio.sleep(0.001)

    with running() as service, initialized(service) as connection:
        for _ in range(2):  # then the document is cached
            send(connection, subscribe("{ hello }"))
            assert [receive(connection)["type"] for _ in range(2)] == ["next", "complete"]
        monkeypatch.setattr(service.budgets.request_turns, "wait", wait)
        send(connection, *(subscribe("{ hello }", str(number)) for number in range(20)))
        eventually(lambda: waiting >= 4)
        for _ in range(20):
            started += 1
            assert [receive(connection)["type"] for _ in range(2)] == ["next", "complete"]

    assert most == 4


def test_the_operations_of_a_websocket_end_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, the operations of many WebSockets that end at the same time end in one iteration of the event loop."""
    turns: list[str] = []
    with running() as service:
        wait = service.budgets.turns.wait

        async def record(submitter: str) -> None:
            turns.append(submitter)
            await wait(submitter)

        with initialized(service) as connection:
            send(
                connection,
                *(subscribe("subscription { count(to: 1000, pause: 60) }", str(number)) for number in range(3)),
            )
            assert {receive(connection)["id"] for _ in range(3)} == {"0", "1", "2"}
            monkeypatch.setattr(service.budgets.turns, "wait", record)
        wait_until_no_subscriptions(service)

    assert turns == [KEY]
