"""Results that are ready together are written together."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from storage.firestore import encoding
from triggers.writer import MANY, MAX_BATCH_BYTES, MAX_BATCH_WRITES, MAX_CALLS, Writer


class Calls:
    """The calls a writer makes: each waits for `answer`, and a write's status is its own name."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self._turn = asyncio.Semaphore(0)
        self._faults: list[Exception] = []

    async def send(self, writes: Sequence[Any]) -> Sequence[str]:
        """Take a call."""
        names = [write.update.name for write in writes]
        self.batches.append(names)
        await self._turn.acquire()
        if self._faults:
            raise self._faults.pop()
        return names

    def answer(self, times: int = 1) -> None:
        """Let calls return, the one under way first."""
        for _ in range(times):
            self._turn.release()

    def fail(self, fault: Exception) -> None:
        """Let the call under way fail."""
        self._faults.append(fault)
        self.answer()


def _write(name: str, padding: int = 0) -> Any:
    return encoding.to_write(name, {"padding": bytes(padding)})


async def _start(writer: Writer, *writes: Any) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(writer.write(write)) for write in writes]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_waits_while_a_call_is_under_way_goes_in_the_next_one() -> None:
    """The first result waits for nobody, and each gets the status of its own write."""
    calls = Calls()
    writer = Writer(calls.send)
    first = await _start(writer, _write("a"))
    others = await _start(writer, _write("b"), _write("c"))
    calls.answer(2)

    assert await asyncio.gather(*first, *others) == ["a", "b", "c"]
    assert calls.batches == [["a"], ["b", "c"]]


async def test_many_results_do_not_wait_for_the_call_under_way() -> None:
    """They have a call of their own, up to four at a time, so that function and Firestore work at the same time."""
    calls = Calls()
    writer = Writer(calls.send)
    names = [str(number) for number in range(6 * MANY)]
    tasks = await _start(writer, _write(names[0]))
    for start in range(1, len(names), MANY):
        tasks += await _start(writer, *map(_write, names[start : start + MANY]))

    assert [len(batch) for batch in calls.batches] == [1, MANY, MANY, MANY]
    calls.answer(5)
    assert await asyncio.gather(*tasks) == names
    assert len(calls.batches) == MAX_CALLS + 1


async def test_a_document_never_stands_twice_in_a_call() -> None:
    """Firestore would refuse the whole call; the second write of a document comes after the first."""
    calls = Calls()
    writer = Writer(calls.send)
    tasks = await _start(writer, _write("a"), _write("b"), _write("a"), _write("c"), _write("a"))
    calls.answer(3)

    assert await asyncio.gather(*tasks) == ["a", "b", "a", "c", "a"]
    assert calls.batches == [["a", "b", "c"], ["a"], ["a"]]


async def test_a_call_stays_within_the_limits_of_firestore() -> None:
    """At most 500 writes, and 9 MiB of them."""
    calls = Calls()
    calls.answer(20)
    writer = Writer(calls.send)
    third = MAX_BATCH_BYTES // 3 + 1

    await asyncio.gather(*(writer.write(_write(str(number))) for number in range(2 * MAX_BATCH_WRITES + 1)))
    await asyncio.gather(*(writer.write(_write(str(number), third)) for number in range(5)))

    assert [len(batch) for batch in calls.batches] == [MAX_BATCH_WRITES, MAX_BATCH_WRITES, 1, 2, 2, 1]


async def test_when_a_call_fails_everyone_in_it_is_told() -> None:
    """Nobody waits for ever, and the next result is written."""
    calls = Calls()
    writer = Writer(calls.send)
    tasks = await _start(writer, _write("a"), _write("b"))
    calls.fail(ConnectionError("gone"))

    for task in tasks:
        with pytest.raises(ConnectionError, match="gone"):
            await task
    calls.answer()
    assert await writer.write(_write("c")) == "c"


async def test_whoever_stops_waiting_disturbs_nobody() -> None:
    """A request may be cancelled while its write is under way."""
    calls = Calls()
    writer = Writer(calls.send)
    one, other = await _start(writer, _write("a"), _write("b"))

    one.cancel()
    calls.answer()

    assert await other == "b"
