"""Turns on the event loop: submitters take turns to start requests, and to run the steps of long work.

`RequestTurns` starts in each iteration of the event loop only as many requests as fit into a few milliseconds. A
request needs about ten iterations. If 1,500 clients send a request each, and one iteration starts all of them, then
each iteration takes half a second, and a request of another submitter takes several seconds. With turns, the requests
of the 1,500 clients wait in a queue, and a request of another submitter starts in the next iteration. All requests with
an unknown key count as one submitter. All requests without a key count as another one, except those of health checks.

`LoopTurns` cuts long work into steps, and runs one step in each iteration. Without turns, 40 requests that each work
for 2 ms in the same iteration delay every other request by 80 ms. A submitter with 64 requests gets as many steps as a
submitter with a single request. Some steps cannot be divided: parsing a long document takes 20 ms. After such a step,
other requests have several iterations without a step.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

MAX_START_SECONDS = 0.004
"""Requests start at once in this part of an iteration. Later requests wait for the next iterations."""

MAX_STARTS = 8
"""The waiting requests that one iteration starts. They take 1 to 8 ms."""

MAX_STEP_SECONDS = 0.002

_LONG_STEP_SECONDS = 2 * MAX_STEP_SECONDS

_PAUSED_ITERATIONS = 20
"""Iterations of the event loop without a step after a long step, within the time that the long step has taken. With
documents of 1,900 fields over 64 connections, a submit of another tenant took up to 258 ms without them.
"""


_MAX_IN_ORDER = 64
"""If more items wait in a queue, they are many."""

_MAX_ENDED = 16
"""Requests of clients that have disconnected, and that are ended together with a refusal."""


@dataclass(slots=True)
class _Queue(Generic[T]):
    """Items that wait."""

    items: OrderedDict[T, None] = field(default_factory=OrderedDict)
    _is_newest_next: bool = True

    def take(self, *, is_shared: bool) -> T:
        """Remove and return the oldest item. If many wait in a shared queue, every second item is the newest one."""
        is_newest = is_shared and self._is_newest_next and len(self.items) > _MAX_IN_ORDER
        self._is_newest_next = not is_newest
        item, _ = self.items.popitem(last=is_newest)
        return item


class Rotation(Generic[T]):
    """Items that wait in queues with names, such as submitters or addresses. The queues take turns.

    A queue with hundreds of items does not delay the first item of another queue. An item waits once in a queue.
    """

    def __init__(self, *, is_shared: bool = False) -> None:
        """Create a rotation. With `is_shared`, different clients can share a queue.

        For example, all clients of an address that send no key share one. If one of them adds thousands of items, a new
        item of another client is taken soon, and an old item waits twice as long.
        """
        self._is_shared = is_shared
        self._queues: dict[str, _Queue[T]] = {}
        """The queues that are not empty. The first one has the next turn."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, name: str, item: T) -> None:
        """Add an item at the end of the queue `name`, unless it waits there."""
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue()
        self._length += item not in queue.items
        queue.items[item] = None

    def remove(self, name: str, item: T) -> None:
        """Remove an item from the queue `name` if the queue contains it, in constant time."""
        queue = self._queues.get(name)
        if queue is None or item not in queue.items:
            return
        del queue.items[item]
        if not queue.items:
            del self._queues[name]
        self._length -= 1

    def take(self) -> T:
        """Remove and return an item of the queue that has the next turn. There must be an item."""
        name = next(iter(self._queues))
        queue = self._queues.pop(name)
        item = queue.take(is_shared=self._is_shared)
        if queue.items:
            self._queues[name] = queue  # after all other queues
        self._length -= 1
        return item

    def take_from_longest(self, longer_than: int = _MAX_IN_ORDER) -> T | None:
        """Remove and return the oldest item of the longest queue. Return None if it has at most `longer_than` items."""
        if self._length <= longer_than:
            return None
        name, queue = max(self._queues.items(), key=lambda each: len(each[1].items))
        if len(queue.items) <= longer_than:
            return None
        item = next(iter(queue.items))
        self.remove(name, item)
        return item


class FairQueue(Rotation[asyncio.Future[None]]):
    """Requests that wait for a turn, by submitter."""

    async def wait(self, submitter: str) -> None:
        """Wait for a turn of `submitter`."""
        await self.new_turn(submitter)

    def new_turn(self, submitter: str) -> "asyncio.Future[None]":
        """Return a future that is done when `submitter` has a turn."""
        turn = asyncio.get_running_loop().create_future()
        self.add(submitter, turn)
        return turn

    def grant(self) -> bool:
        """Give the next request its turn. Return whether there was one."""
        while self:
            turn = self.take()
            if not turn.done():  # a waiting request can be cancelled or refused
                turn.set_result(None)
                return True
        return False


@dataclass(frozen=True, slots=True, eq=False)
class _NewRequest:
    """A request that waits to start."""

    turn: "asyncio.Future[None]"
    is_disconnected: Callable[[], bool]


class RequestTurns:
    """Lets requests start. Belongs to one event loop."""

    def __init__(self) -> None:
        self._queue = FairQueue(is_shared=True)
        self._new = Rotation[_NewRequest]()
        """The waiting requests that have not started. Other requests wait again before they continue."""
        self._ends_at: float | None = None
        """When requests of the current iteration no longer start at once. None before its first request.

        While requests wait, this time has passed. A new request therefore cannot overtake them.
        """

    async def start(self, submitter: Callable[[], str], is_disconnected: Callable[[], bool]) -> None:
        """Return when a new request of `submitter` may start. Call `submitter` only if the request has to wait.

        `is_disconnected` returns whether its client has disconnected. Raises the error that `refuse` gets.
        """
        if not self._must_wait():
            return
        name = submitter()
        turn = self._queue.new_turn(name)
        request = _NewRequest(turn, is_disconnected)
        self._new.add(name, request)
        try:
            await turn
        finally:
            self._new.remove(name, request)
            del turn, request  # the error of the turn refers to this frame

    async def wait(self, submitter: Callable[[], str]) -> None:
        """Return when a request of `submitter` may continue. Call `submitter` only if the request has to wait."""
        if self._must_wait():
            await self._queue.wait(submitter())

    def refuse(self, error: Exception) -> bool:
        """Refuse a new request of the submitter with the most of them. Return False if these are not many.

        Some requests of clients that have disconnected are ended too.
        """
        for _ in range(_MAX_ENDED):
            request = self._new.take_from_longest()
            if request is None:
                return False
            if not request.turn.done():
                request.turn.set_exception(error)
                if not request.is_disconnected():
                    return True
        return False

    def _must_wait(self) -> bool:
        now = time.perf_counter()
        if self._ends_at is None:
            self._ends_at = now + MAX_START_SECONDS
            asyncio.get_running_loop().call_soon(self._next_iteration)
        return now >= self._ends_at

    def _next_iteration(self) -> None:
        """Let waiting requests start in this iteration and, if there are more, in the next one."""
        for _ in range(MAX_STARTS):
            if not self._queue.grant():
                self._ends_at = None
                return
        asyncio.get_running_loop().call_soon(self._next_iteration)


class LoopTurns:
    """Grants one step at a time. Belongs to one event loop."""

    def __init__(self) -> None:
        self._queue = FairQueue()
        self._is_granting = False

    def of(self, submitter: str) -> "LoopTurn":
        """Return a turn of one request of `submitter`. Its first step starts now."""
        return LoopTurn(self, submitter)

    async def wait(self, submitter: str) -> None:
        """Wait for the next step of `submitter`."""
        if not self._is_granting:
            self._is_granting = True
            asyncio.get_running_loop().call_soon(self._grant)
        await self._queue.wait(submitter)

    def _grant(self) -> None:
        """Grant one step. It runs in the next iteration of the event loop, directly before `_continue`."""
        self._is_granting = self._queue.grant()
        if self._is_granting:
            asyncio.get_running_loop().call_soon(self._continue, time.perf_counter())

    def _continue(self, granted_at: float) -> None:
        """Grant the next step. After a long step, first let other requests run."""
        now = time.perf_counter()
        is_long = now - granted_at > _LONG_STEP_SECONDS
        self._grant_after(_PAUSED_ITERATIONS if is_long else 0, 2 * now - granted_at)

    def _grant_after(self, iterations: int, latest: float) -> None:
        """Grant the next step after some iterations, or at the time `latest` if that is earlier."""
        if iterations and time.perf_counter() < latest:
            asyncio.get_running_loop().call_soon(self._grant_after, iterations - 1, latest)
        else:
            self._grant()


class LoopTurn:
    """The current step of one request. The request calls `pause` between short pieces of its work."""

    __slots__ = ("_ends_at", "_submitter", "_turns")

    def __init__(self, turns: LoopTurns, submitter: str) -> None:
        self._turns = turns
        self._submitter = submitter
        self._ends_at = time.perf_counter() + MAX_STEP_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the step has used its time."""
        return time.perf_counter() >= self._ends_at

    async def start(self) -> None:
        """Wait for a step and start it."""
        await self._turns.wait(self._submitter)
        self._ends_at = time.perf_counter() + MAX_STEP_SECONDS

    async def map(self, function: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """Return the value of `function` for each item. Pause between the items."""
        values = []
        for item in items:
            await self.pause()
            values.append(function(item))
        return values

    async def pause(self) -> None:
        """If the step has used its time, wait for the next one."""
        if self.is_over:
            await self.start()
