"""Admission of streams: decides when the next lines of a stream may be stored.

If a budget is exhausted, `Budgets.admit_samples` refuses a request with one sample at once. A stream waits instead, and
the server stops reading the stream. All streams of a submitter share a limit of lines in flight, so that 64 streams do
not fill the queue of the writer more than one stream does. The limit is a multiple of the writes that the submitter may
have in flight. A stream is refused if the backlog of its submitter stays at its limit for too long.

A list of samples in one request is admitted as a whole, and stored in parts.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from graphql_api.budgets.budgets import Budgets, Sender
from graphql_api.errors import count_failed_samples
from graphql_api.ingest.repeated_samples import Outcome
from storage.documents import Unavailable

_MAX_LINES_IN_FLIGHT = 2_000
"""Lines in flight of all streams of one submitter."""

_LINES_PER_WRITE = 4
"""Lines in flight for each write that a submitter may have in flight, so that enough writes wait."""

_MAX_BYTES_IN_FLIGHT = 32 * 2**20
_MAX_PART_BYTES = 2 * 2**20
"""Samples of one list that are stored at the same time. Until a sample is stored, it is in memory four times."""

_MAX_BACKLOG_WAIT_SECONDS = 30.0
_CHECK_SECONDS = 0.25


async def store_in_parts(
    raws: Sequence[bytes], store: Callable[[Sequence[bytes]], Awaitable[list[Outcome]]]
) -> list[Outcome]:
    """Store the parts of a list with `store`. Return the outcome of each sample.

    If a sample is not stored because Firestore is unavailable or memory is exhausted, the next parts are not stored.
    Otherwise, each of them could wait for the write timeout, and the request would end without the outcomes.
    """
    outcomes: list[Outcome] = []
    for part in parts_of(raws):
        stored = await store(part)
        outcomes += stored
        if any(isinstance(outcome, Unavailable) for outcome in stored):
            break
    if remaining := len(raws) - len(outcomes):
        refusal = Unavailable("the server could not store an earlier sample of the list; send this sample again later")
        count_failed_samples(refusal, remaining)
        outcomes += [refusal] * remaining
    return outcomes


def parts_of(raws: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield the parts of a list of samples. They are stored one after the other, because this needs less memory."""
    part: list[bytes] = []
    size = 0
    for raw in raws:
        if part and size + len(raw) > _MAX_PART_BYTES:
            yield part
            part, size = [], 0
        part.append(raw)
        size += len(raw)
    yield part


class Admission:
    """The streams of all submitters. `write_share` returns how many writes one submitter may have in flight now."""

    def __init__(self, budgets: Budgets, write_share: Callable[[], int]) -> None:
        self._budgets = budgets
        self._write_share = write_share
        self._streams: dict[str, _InFlight] = {}

    @contextmanager
    def stream(self, sender: Sender, check: Callable[[], None]) -> Iterator["StreamAdmission"]:
        """Yield the admission of one stream of `sender`.

        While the stream waits, it calls `check` several times a second. `check` raises an exception to end the stream.
        """
        in_flight = self._streams.setdefault(sender.submitter, _InFlight(self._max_lines))
        in_flight.streams += 1
        stream = StreamAdmission(self._budgets, sender, in_flight, check)
        try:
            yield stream
        finally:
            stream.close()
            in_flight.streams -= 1
            if not in_flight.streams:
                del self._streams[sender.submitter]

    def _max_lines(self) -> int:
        return min(_MAX_LINES_IN_FLIGHT, _LINES_PER_WRITE * self._write_share())


class StreamAdmission:
    """The lines of one stream that are in flight."""

    def __init__(self, budgets: Budgets, sender: Sender, in_flight: "_InFlight", check: Callable[[], None]) -> None:
        self.sender = sender
        """Who sends the next lines. The limits of a credential can change while its stream is open."""
        self._budgets = budgets
        self._in_flight = in_flight
        self._check = check
        self._lines = 0
        self._bytes = 0
        self._is_closed = False

    async def wait(self, lines: int, byte_count: int) -> None:
        """Wait until these lines may be stored. Raises `RateLimited` if a budget stays exhausted for too long."""
        self._check()
        await self._in_flight.admit(lines, byte_count, self._check)
        self._lines += lines
        self._bytes += byte_count
        deadline = time.monotonic() + _MAX_BACKLOG_WAIT_SECONDS
        while time.monotonic() < deadline:
            delay = self._budgets.allowance(self.sender).delay_seconds
            if not delay and not self._budgets.submitter(self.sender.submitter).has_full_backlog:
                break
            await asyncio.sleep(min(delay or _CHECK_SECONDS, _CHECK_SECONDS))
            self._check()
        self._budgets.admit_samples(self.sender, lines, byte_count)

    def release(self, lines: int, byte_count: int) -> None:
        """Remove lines that have their outcomes, so that other lines may be stored."""
        if self._is_closed:
            return
        self._lines -= lines
        self._bytes -= byte_count
        self._in_flight.release(lines, byte_count)

    def close(self) -> None:
        """Release all lines."""
        self.release(self._lines, self._bytes)
        self._is_closed = True


class _InFlight:
    """The lines in flight of all streams of one submitter, and the waiting streams in the order of their calls."""

    def __init__(self, max_lines: Callable[[], int]) -> None:
        self.streams = 0
        self._max_lines = max_lines
        self._lines = 0
        self._bytes = 0
        self._waiting: deque[tuple[int, int, asyncio.Future[None]]] = deque()

    async def admit(self, lines: int, byte_count: int, check: Callable[[], None]) -> None:
        """Wait until the lines may be in flight. Meanwhile, call `check` several times a second; it may raise."""
        if not self._waiting and self._fits(lines, byte_count):
            self._add(lines, byte_count)
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (lines, byte_count, turn)
        self._waiting.append(entry)
        try:
            while not turn.done():
                await asyncio.wait([turn], timeout=_CHECK_SECONDS)
                check()
        except BaseException:
            if turn.done():
                self.release(lines, byte_count)
            else:
                self._waiting.remove(entry)
                self._start_waiting()  # the next streams may need less than this stream
            raise

    def release(self, lines: int, byte_count: int) -> None:
        self._lines -= lines
        self._bytes -= byte_count
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and self._fits(*self._waiting[0][:2]):
            lines, byte_count, turn = self._waiting.popleft()
            self._add(lines, byte_count)
            turn.set_result(None)

    def _fits(self, lines: int, byte_count: int) -> bool:
        has_room = self._lines + lines <= self._max_lines() and self._bytes + byte_count <= _MAX_BYTES_IN_FLIGHT
        return has_room or not self._lines

    def _add(self, lines: int, byte_count: int) -> None:
        self._lines += lines
        self._bytes += byte_count
