"""From the request to the stored result: throughput, and latency to a subscriber."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from tests.load import samples, wrk
from tests.load.contest import contest
from tests.load.http_client import Connection
from tests.load.machine import Processors
from tests.load.plan import Plan, attempt, median, repeat
from tests.load.process import Busy, Failed
from tests.load.rows import streams
from tests.load.rows.streams import send
from tests.load.table import RATIO, Figure, Goal, Row
from tests.load.whole_stack import WholeStack, whole_stack

VALUES = 100
CONNECTIONS = 64
END_TO_END_PER_SECOND = 1_500
SHARE = "end to end, one NDJSON stream: share of the acknowledged rate"
SHARE_OF_ACKNOWLEDGED = 0.35
LOW_RATE = 10
LOW_P50_SECONDS, LOW_P99_SECONDS = 0.020, 0.060
MAX_IN_FLIGHT = 256
WATCH = b'{"query": "subscription { results { node { id } } }"}'
PATIENCE_SECONDS = 30.0
PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Throughput:
    """Samples per second from the first request to the last stored result, and processor shares."""

    rate: float
    busy: str


def throughput(plan: Plan) -> Iterator[Row]:
    """Measure samples per second, submitted, computed and stored."""
    placement = plan.placement
    with whole_stack(plan) as stack:
        single = f"end to end, single submits, {CONNECTIONS} connections"
        yield from row(f"{single}, API alone on its processor", partial(submits, plan, stack, placement.other), plan)
        stack.place(placement.both, placement.both)
        yield from row(f"{single}, all on both processors", partial(submits, plan, stack, placement.both), plan)
        stream = "end to end, one NDJSON stream, all on both processors"
        for streamed in row(stream, partial(_stream, plan, stack), plan):
            yield streamed
            end_to_end = streamed.figure
    if end_to_end is not None:
        yield from attempt(SHARE, partial(_share_of_acknowledged, plan, end_to_end.value))


def _share_of_acknowledged(plan: Plan, end_to_end: float) -> Iterator[Row]:
    """Compare with a stream that is only acknowledged: without events and function, the API alone on its processor."""
    with contest(plan, peers=False) as alone:
        acknowledged, *_ = repeat(plan, partial(streams.stream, plan, alone.contestants[0], 1), by=itemgetter(0))
    share = end_to_end / acknowledged
    figure = Figure(share, RATIO, f"of {acknowledged:,.0f} acknowledged samples/s")
    yield Row(SHARE, figure, goals=[Goal(str(SHARE_OF_ACKNOWLEDGED), share >= SHARE_OF_ACKNOWLEDGED)])


def row(what: str, measure: Callable[[], Throughput], plan: Plan) -> Iterator[Row]:
    """Return one row from `measure`."""

    def rows() -> Iterator[Row]:
        measured = repeat(plan, measure, by=lambda each: each.rate)
        goal = Goal(f"{END_TO_END_PER_SECOND:,}/s", measured.rate >= END_TO_END_PER_SECOND)
        yield Row(what, Figure(measured.rate, "samples/s", measured.busy), goals=[goal])

    yield from attempt(what, rows)


class _Passage:
    """Measures from now until the last sample has its result."""

    def __init__(self, stack: WholeStack) -> None:
        self._stack = stack
        stack.drain()
        self._computed = stack.computed()
        self._busy = {
            "API": [Busy(pid) for pid in stack.apis],
            "function": [Busy(pid) for pid in stack.functions],
            "Firestore": [Busy(stack.firestore)],
        }
        self._began = time.monotonic()

    def end(self, acknowledged: int, unanswered: int) -> Throughput:
        self._stack.pass_one()
        seconds = time.monotonic() - self._began
        busy = ", ".join(f"{name} {sum(one.share() for one in each):.0%}" for name, each in self._busy.items())
        self._stack.drain()
        computed, passed = self._stack.computed() - self._computed, 2
        wrk.compare(acknowledged + passed, computed, unanswered)
        return Throughput(computed / seconds, busy)


def submits(plan: Plan, stack: WholeStack, processors: Processors) -> Throughput:
    """Submit over many connections and wait until every sample has its result."""
    passage = _Passage(stack)
    outcome = wrk.run(stack.target(VALUES), connections=CONNECTIONS, seconds=plan.seconds, processors=processors)
    return passage.end(outcome.good, CONNECTIONS)


def _stream(plan: Plan, stack: WholeStack) -> Throughput:
    passage = _Passage(stack)
    sent = send(stack.stack.api_port, stack.headers, plan.streamed)
    return passage.end(sent.good, 0)


def latency(plan: Plan) -> Iterator[Row]:
    """Measure the time from sending a sample to receiving its result by subscription, at fixed rates."""
    with whole_stack(plan) as stack:
        stack.place(plan.placement.both, plan.placement.both)
        most = median([submits(plan, stack, plan.placement.both).rate for _ in range(plan.runs)], by=float)
        for rate in (LOW_RATE, most / 2):
            what = f"submit to subscription at {rate:.0f}/s" + (", half the maximum" if rate != LOW_RATE else "")
            yield from attempt(what, partial(_latencies, plan, stack, what, rate))


def _latencies(plan: Plan, stack: WholeStack, what: str, rate: float) -> Iterator[Row]:
    asyncio.run(_watched(stack, rate, 1))
    seconds = sorted(asyncio.run(_watched(stack, rate, plan.seconds * 2)))
    for share, most in ((50, LOW_P50_SECONDS), (99, LOW_P99_SECONDS)):
        value = seconds[len(seconds) * share // 100]
        goals = [Goal(f"{most * 1000:.0f} ms", value <= most)] if rate == LOW_RATE else []
        figure = Figure(value * 1000, "ms", f"of {len(seconds):,}", more_is_better=False)
        yield Row(f"{what}: p{share}", figure, goals=goals)


async def _watched(stack: WholeStack, rate: float, seconds: float) -> list[float]:
    """Submit at a fixed rate without waiting for earlier responses. Return the latencies."""
    watch = _Watch(await Connection.open(stack.stack.api_port, stack.headers))
    opened = [await Connection.open(stack.stack.api_port, stack.headers) for _ in range(MAX_IN_FLIGHT)]
    free = list(opened)
    body = samples.submission(samples.sample(VALUES))
    due: dict[str, float] = {}
    count = max(1, round(rate * seconds))

    async def submit(moment: float) -> None:
        if not free:
            raise Failed(f"{rate:.0f}/s cannot be sustained: {MAX_IN_FLIGHT} requests are in flight")
        connection = free.pop()
        due[(await connection.graphql(body))["submit"]["id"]] = moment
        free.append(connection)

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch.run())
        await watch.begin(opened[0], body)
        began = time.perf_counter()
        for number in range(count):
            moment = began + number / rate
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            tasks.create_task(submit(moment))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await watch.has_seen(count)
        watching.cancel()
    for connection in opened:
        await connection.close()
    if due.keys() != watch.seen.keys():
        raise Failed(f"{len(due)} were submitted, {len(watch.seen.keys() & due.keys())} results received")
    return [watch.seen[sample] - moment for sample, moment in due.items()]


class _Watch:
    """A subscription to all results, with the time each arrived."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._arrived = asyncio.Condition()
        self.seen: dict[str, float] = {}

    async def run(self) -> None:
        try:
            async for event in self._connection.events(WATCH):
                self.seen[event["data"]["results"]["node"]["id"]] = time.perf_counter()
                async with self._arrived:
                    self._arrived.notify_all()
        finally:
            await self._connection.close()

    async def begin(self, connection: Connection, body: bytes) -> None:
        """Return once results arrive: a subscription does not report its start."""
        probes: set[str] = set()
        while not self.seen:
            probes.add((await connection.graphql(body))["submit"]["id"])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS), self._arrived:
                    await self._arrived.wait_for(lambda: probes & self.seen.keys())
        for probe in probes:
            self.seen.pop(probe, None)

    async def has_seen(self, count: int) -> None:
        """Return once that many results arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.seen) >= count)
