"""The effect of more processes and of more shards."""

import re
from collections.abc import Iterator
from functools import partial

from tests.load.plan import Plan, attempt, repeat
from tests.load.rows import end_to_end
from tests.load.rows.streams import send
from tests.load.table import Figure, Goal, Row
from tests.load.whole_stack import WholeStack, whole_stack

SHARD_PER_SECOND = 500
"""The rate production takes per shard in an index on a field that grows."""

BURST = SHARD_PER_SECOND
STREAMED = 6_000
SHARDS = (1, 4, 16)
REFUSED = re.compile(r'^dropzone_firestore_errors_total\{code="ABORTED"\} (\S+)$', re.MULTILINE)


def scale(plan: Plan) -> Iterator[Row]:
    """Compare two processes of API and function with one of each."""
    both = plan.placement.both
    for count in (1, 2):
        settings = {"DROPZONE_API_PROCESSES": str(count), "DROPZONE_FUNCTION_PROCESSES": str(count)}
        with whole_stack(plan, **settings) as stack:
            stack.place(both, both)
            what = f"end to end, single submits, all on both processors, processes of API and function: {count} each"
            yield from end_to_end.row(what, partial(end_to_end.submits, plan, stack, both), plan)


def shards(plan: Plan) -> Iterator[Row]:
    """Compare numbers of shards, with the rate limits of production, with the prediction of docs/deploying.md."""
    for count in SHARDS:
        settings = {
            "DROPZONE_FIRESTORE_RATE_LIMITS": "indexes",
            "DROPZONE_SHARDS": str(count),
            "DROPZONE_WRITE_TIMEOUT_SECONDS": "60",
        }
        with whole_stack(plan, **settings) as stack:
            stack.place(plan.placement.both, plan.placement.both)
            what = f"NDJSON, one stream, Firestore limited to production's rates, shards: {count}"
            yield from attempt(what, partial(_limited, plan, stack, what, count))


def _limited(plan: Plan, stack: WholeStack, what: str, count: int) -> Iterator[Row]:
    def stream() -> tuple[float, int]:
        stack.drain()
        before = _refused(stack)
        rate = send(stack.stack.api_port, stack.headers, STREAMED).rate
        return rate, _refused(stack) - before

    rate, refused = repeat(plan, stream, by=lambda each: each[0])
    limit = SHARD_PER_SECOND * count
    burst = BURST * count
    most = limit * STREAMED / (STREAMED - burst) if burst < STREAMED else float("inf")
    note = f"{refused:,} writes refused and retried; the limit is {limit:,}/s"
    if count == 1:
        goal = Goal(f"throttled to {limit}/s", rate <= most and refused > 0)
    elif count == max(SHARDS):
        goal = Goal("not throttled", refused == 0)
    else:
        goal = Goal(f"at most {limit:,}/s", rate <= most)
    yield Row(what, Figure(rate, "samples/s", note), goals=[goal])


def _refused(stack: WholeStack) -> int:
    """Return the number of writes that Firestore has refused so far."""
    found = REFUSED.search(stack.stack.get("/metrics").text)
    return int(float(found[1])) if found else 0
