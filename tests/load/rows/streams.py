"""NDJSON: one request with one sample per line."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter

from tests.load import http_client, samples, stack_processes
from tests.load.contest import Contestant, contest
from tests.load.http_client import Streamed
from tests.load.plan import Plan, repeat
from tests.load.process import Busy, Failed
from tests.load.table import Figure, Goal, Row

VALUES = 100
ACKNOWLEDGED_PER_SECOND = 8_000
TOGETHER = 4


def streams(plan: Plan) -> Iterator[Row]:
    """Measure samples per second of one stream and of several at once."""
    with contest(plan, peers=False) as alone:
        (product,) = alone.contestants
        for together in (1, TOGETHER):
            rate, busy, firestore_busy = repeat(plan, partial(stream, plan, product, together), by=itemgetter(0))
            yield Row(
                f"NDJSON, samples of {VALUES} values, {together} streams" if together > 1 else "NDJSON, one stream",
                Figure(
                    rate, "samples/s", f"server {busy:.0%}, store {firestore_busy:.0%}, {rate / busy:,.0f}/s per core"
                ),
                goals=[Goal(f"{ACKNOWLEDGED_PER_SECOND:,}/s", rate >= ACKNOWLEDGED_PER_SECOND)],
            )


def stream(plan: Plan, product: Contestant, together: int) -> tuple[float, float, float]:
    """Send some streams at once. Return the samples per second, and the processor shares of API and Firestore."""
    before = stack_processes.count(product.database, product.collection)
    busy, firestore_busy = Busy(product.process.pid), Busy(product.firestore.pid)
    with ThreadPoolExecutor(together) as threads:
        sent = list(
            threads.map(lambda _: send(product.port, product.headers, plan.streamed // together), range(together))
        )
    shares = busy.share(), firestore_busy.share()
    acknowledged = sum(each.good for each in sent)
    stored = stack_processes.count(product.database, product.collection) - before
    if stored != acknowledged:
        raise Failed(f"{acknowledged} were acknowledged, but {stored} are stored")
    return acknowledged / max(each.seconds for each in sent), *shares


def send(port: int, headers: dict[str, str], count: int) -> Streamed:
    """Send a stream of `count` samples. Raises `Failed` unless every one is acknowledged."""
    body = (samples.sample(VALUES) + b"\n") * count
    named = {**headers, "content-type": "application/x-ndjson"}
    streamed = http_client.stream(port, "/samples", named, body, b'"PENDING"')
    if streamed.good != count:
        raise Failed(f"{streamed.good} of {count} samples were acknowledged, {streamed.lines} lines received")
    return streamed
