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
FAST_SHARDS = 8
REFUSED = re.compile(r'^dropzone_firestore_errors_total\{code="ABORTED"\} (\S+)$', re.MULTILINE)


def scale(plan: Plan) -> Iterator[Row]:
    """Compare two processes of API and function with one of each, and eight shards with one."""
    both = plan.placement.both
    for count in (1, 2):
        settings = {"DROPZONE_API_PROCESSES": str(count), "DROPZONE_FUNCTION_PROCESSES": str(count)}
        with whole_stack(plan, **settings) as stack:
            stack.place(both, both)
            what = f"end to end, single submits, all on both processors, processes of API and function: {count} each"
            yield from end_to_end.row(what, partial(end_to_end.submits, plan, stack, both), plan)
    for shards in (1, FAST_SHARDS):
        settings = {
            "DROPZONE_FIRESTORE_RATE_LIMITS": "indexes",
            "DROPZONE_SHARDS": str(shards),
            "DROPZONE_WRITE_TIMEOUT_SECONDS": "60",
        }
        with whole_stack(plan, **settings) as stack:
            stack.place(both, both)
            what = f"NDJSON, one stream, Firestore limited to production's rates, shards: {shards}"
            yield from attempt(what, partial(_throttled, plan, stack, what, shards))


def _throttled(plan: Plan, stack: WholeStack, what: str, shards: int) -> Iterator[Row]:
    def stream() -> tuple[float, int]:
        stack.drain()
        before = _refused(stack)
        rate = send(stack.stack.api_port, stack.headers, STREAMED).rate
        return rate, _refused(stack) - before

    rate, refused = repeat(plan, stream, by=lambda each: each[0])
    most = SHARD_PER_SECOND * STREAMED / (STREAMED - BURST)
    throttled = Goal(f"throttled to {SHARD_PER_SECOND}/s", rate <= most and refused > 0)
    free = Goal("not throttled", refused == 0)
    note = f"{refused:,} writes refused and retried"
    yield Row(what, Figure(rate, "samples/s", note), goals=[throttled if shards == 1 else free])


def _refused(stack: WholeStack) -> int:
    """Return the number of writes that Firestore has refused so far."""
    found = REFUSED.search(stack.stack.get("/metrics").text)
    return int(float(found[1])) if found else 0
