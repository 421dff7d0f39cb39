"""What a quiet submitter waits while another one floods: the times of its submits before and during the flood.

All processes share both processors. The quiet submitter and the flood have a process each. Submits are sent at a fixed
rate and do not wait for earlier responses, so a stall delays all of them.
"""

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tests.load import samples
from tests.load.http_client import Connection
from tests.load.plan import Plan, median
from tests.load.process import wait_until
from tests.load.table import Figure, Goal, Row
from tests.load.whole_stack import whole_stack

VALUES = 100
CONNECTIONS = 64
SUBMITS_PER_SECOND = 50
WARM_UP_SECONDS = 2.0
SECONDS = 20.0
MAX_RATIO = 3.0
_LINES = 200
"""Lines in a chunk of a stream."""

_PROCESSES = multiprocessing.get_context("spawn")


class _Times(NamedTuple):
    """Percentiles of the seconds that a submit took."""

    p50: float
    p99: float


class _Measured(NamedTuple):
    before: _Times
    during: _Times

    @property
    def ratio(self) -> float:
        return self.during.p99 / self.before.p99


def flood(plan: Plan) -> Iterator[Row]:
    """Measure the submits of a quiet submitter, each time with a new stack. The median ratio counts."""
    measured = median([_measure(plan) for _ in range(plan.runs)], by=lambda each: each.ratio)
    before, during = measured
    what = f"submit at {SUBMITS_PER_SECOND}/s"
    yield Row(f"{what}, alone: p99", _figure(before.p99, f"p50 {before.p50 * 1000:.1f}"))
    yield Row(
        f"{what}, while another submitter sends {CONNECTIONS} NDJSON streams: p99",
        _figure(during.p99, f"{measured.ratio:.1f} x alone; p50 {during.p50 * 1000:.1f}"),
        goals=[Goal(f"{MAX_RATIO:g} x alone", measured.ratio <= MAX_RATIO)],
    )


def _figure(seconds: float, note: str) -> Figure:
    return Figure(seconds * 1000, "ms", note, more_is_better=False)


def _measure(plan: Plan) -> _Measured:
    with whole_stack(plan) as running:
        running.place(plan.placement.both, plan.placement.both)
        stack = running.stack
        quiet = {**running.headers, "x-api-key": stack.new_key("quiet")}
        loud = {"content-type": "application/x-ndjson", "x-api-key": stack.new_key("loud")}
        _submits(stack.api_port, quiet, WARM_UP_SECONDS)
        before = _submits(stack.api_port, quiet, SECONDS)
        with _flooding(stack.api_port, loud):
            collection = running.database.collection("submitters/loud/samples")
            wait_until(lambda: bool(collection.limit(1).get()), "the flood has stored a sample")
            return _Measured(before, _submits(stack.api_port, quiet, SECONDS))


def _submits(port: int, headers: Mapping[str, str], seconds: float) -> _Times:
    with _PROCESSES.Pool(1) as pool:
        times = sorted(pool.apply(_run, (port, headers, seconds)))
    return _Times(times[len(times) // 2], times[len(times) * 99 // 100])


def _run(port: int, headers: Mapping[str, str], seconds: float) -> list[float]:
    return asyncio.run(_submit_at_a_fixed_rate(port, headers, round(seconds * SUBMITS_PER_SECOND)))


async def _submit_at_a_fixed_rate(port: int, headers: Mapping[str, str], count: int) -> list[float]:
    """Return the seconds from the planned time of each submit to its response."""
    body = samples.submission(samples.sample(VALUES))
    free: list[Connection] = []
    times: list[float] = []

    async def submit(moment: float) -> None:
        connection = free.pop() if free else await Connection.open(port, headers)
        await connection.graphql(body)
        times.append(time.perf_counter() - moment)
        free.append(connection)

    await submit(time.perf_counter())
    times.clear()
    async with asyncio.TaskGroup() as tasks:
        began = time.perf_counter()
        for number in range(count):
            moment = began + number / SUBMITS_PER_SECOND
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            tasks.create_task(submit(moment))
    return times


@contextlib.contextmanager
def _flooding(port: int, headers: Mapping[str, str]) -> Iterator[None]:
    process = _PROCESSES.Process(target=_flood, args=(port, headers), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _flood(port: int, headers: Mapping[str, str]) -> None:
    asyncio.run(_stream_over_all_connections(port, headers))


async def _stream_over_all_connections(port: int, headers: Mapping[str, str]) -> None:
    lines = (samples.sample(VALUES) + b"\n") * _LINES
    names = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /samples HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n{names}\r\n".encode()

    async def stream() -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            discarding = asyncio.create_task(reader.read(-1))
            with contextlib.suppress(ConnectionError):
                while not discarding.done():
                    writer.write(b"%x\r\n%b\r\n" % (len(lines), lines))
                    await writer.drain()
            writer.close()

    await asyncio.gather(*(stream() for _ in range(CONNECTIONS)))
