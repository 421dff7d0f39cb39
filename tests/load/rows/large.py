"""Large samples: a million values, and 32 MiB while another client sends small queries."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.load import machine, samples, wrk
from tests.load.contest import DROPZONE, Contestant, contest
from tests.load.http_client import Connection
from tests.load.plan import Plan, repeat
from tests.load.process import Failed
from tests.load.table import MIB, NODE, Figure, Goal, Row
from tests.load.whole_stack import WholeStack, whole_stack
from tests.load.wrk import Target

VALUES = 1_000_000
LARGE_BYTES = 32 * MIB
TIMES_NODE = 2.5
TYPENAME = b'{"query": "{ __typename }"}'
FOLLOW = "subscription ($id: ID!) { sample(id: $id) { state } }"


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds until a sample was acknowledged, and from then until its result was read."""

    acknowledged: float
    computed: float


def million_values(plan: Plan) -> Iterator[Row]:
    """Measure time and memory of a sample of 1,000,000 values."""
    what = f"a sample of {VALUES:,} values, all on both processors"
    with contest(plan) as everyone:
        peers: dict[str, Figure | str] = dict(everyone.absent)
        for contestant in everyone.contestants:
            if contestant.name != DROPZONE:
                machine.place(contestant.process.pid, plan.placement.both)
                peers[contestant.name] = _check(plan, contestant)
    with whole_stack(plan) as stack:
        stack.place(plan.placement.both, plan.placement.both)
        idle = machine.resident_bytes(stack.api), machine.resident_bytes(stack.function)
        body = samples.submission(samples.sample(VALUES))
        taken = repeat(plan, lambda: asyncio.run(_submit(stack, body)), by=lambda each: each.acknowledged)
        acknowledged = Figure(taken.acknowledged * 1000, "ms", more_is_better=False)
        node = peers.get(NODE)
        faster = acknowledged.times_better_than(node) >= TIMES_NODE if isinstance(node, Figure) else None
        yield Row(f"{what}: acknowledged", acknowledged, peers, [Goal(f"{TIMES_NODE} x {NODE}", faster)])
        computed = Figure(taken.computed * 1000, "ms", more_is_better=False)
        yield Row(f"{what}: result after that", computed, goals=[Goal("500 ms", taken.computed <= 0.5)])
        for pid in (stack.api, stack.function):
            machine.forget_peak(pid)
        asyncio.run(_submit(stack, body))
        for name, pid, before, most in (("API", stack.api, idle[0], 4), ("function", stack.function, idle[1], 3)):
            peak = machine.peak_bytes(pid)
            times = (peak - before) / len(body)
            note = f"{times:.1f} x the body above {before / MIB:.0f} MiB when idle"
            figure = Figure(peak / MIB, "MiB", note, more_is_better=False)
            yield Row(f"{what}: peak memory of the {name}", figure, goals=[Goal(f"{most} x the body", times <= most)])


def thirty_two_mebibytes(plan: Plan) -> Iterator[Row]:
    """Measure the throughput of large samples, and the latency of small queries meanwhile."""
    what = "a sample of 32 MiB over GraphQL, all on both processors"
    body = samples.submission(samples.sample_of_bytes(LARGE_BYTES))
    with whole_stack(plan) as stack:
        stack.place(plan.placement.both, plan.placement.both)
        taken = repeat(plan, lambda: asyncio.run(_submit(stack, body)), by=lambda each: each.acknowledged)
        rate = len(body) / MIB / taken.acknowledged
        yield Row(what, Figure(rate, "MiB/s"), goals=[Goal("100 MiB/s", rate >= 100)])
        small = Target(f"{stack.stack.url}/graphql", TYPENAME, '"Query"', stack.headers)
        asking = wrk.Run(small, connections=1, seconds=plan.seconds, processors=plan.placement.both)
        until = time.monotonic() + plan.seconds - taken.acknowledged
        while time.monotonic() < until:
            asyncio.run(_submit(stack, body))
        asked = asking.outcome()
        note = f"p99 {asked.p99 * 1000:.2g} ms, p50 {asked.p50 * 1000:.2g} ms of {asked.good:,}"
        longest = Figure(asked.longest * 1000, "ms", note, more_is_better=False)
        yield Row("slowest { __typename } meanwhile", longest, goals=[Goal("100 ms", asked.longest <= 0.1)])


def _check(plan: Plan, contestant: Contestant) -> Figure | str:
    body = samples.peer_request(VALUES, samples.PEER_CHECK)
    try:
        seconds = repeat(plan, lambda: asyncio.run(_ask(contestant, body)), by=float)
    except (Failed, OSError, asyncio.IncompleteReadError) as problem:
        return str(problem)
    return Figure(seconds * 1000, "ms", "parsed and coerced only", more_is_better=False)


async def _ask(contestant: Contestant, body: bytes) -> float:
    connection = await Connection.open(contestant.port, contestant.headers)
    began = time.perf_counter()
    data = await connection.graphql(body)
    seconds = time.perf_counter() - began
    await connection.close()
    if data != {"check": VALUES}:
        raise Failed(f"{contestant.name} responded {data}")
    return seconds


async def _submit(stack: WholeStack, body: bytes) -> Taken:
    submitting = await Connection.open(stack.stack.api_port, stack.headers)
    following = await Connection.open(stack.stack.api_port, stack.headers)
    began = time.perf_counter()
    sample = (await submitting.graphql(body))["submit"]
    acknowledged = time.perf_counter()
    if sample["state"] != "PENDING":
        raise Failed(f"the sample is {sample['state']}")
    follow = json.dumps({"query": FOLLOW, "variables": {"id": sample["id"]}}).encode()
    state = ""
    async for event in following.events(follow):
        state = event["data"]["sample"]["state"]
        if state != "PENDING":
            break
    computed = time.perf_counter()
    await asyncio.gather(submitting.close(), following.close())
    if state != "COMPUTED":
        raise Failed(f"the sample ended as {state or 'nothing'}")
    return Taken(acknowledged - began, computed - acknowledged)
