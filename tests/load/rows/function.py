"""The function alone on one core: events per second, each computed and stored."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from google.events.cloud.firestore_v1 import DocumentEventData

from storage.firestore import encoding
from tests.load import samples, stack_processes, wrk
from tests.load.plan import Plan, repeat
from tests.load.process import Busy
from tests.load.table import Figure, Row
from tests.load.wrk import Outcome, Target
from tests.received import received_sample

EVENT_VALUES = (100, 10_000)
CONNECTIONS = 64
NEW_ID = "00000000-0000-4000-8000-000000000000"  # wrk.lua replaces it with a new id
DATABASE = f"projects/{stack_processes.PROJECT}/databases/(default)"


def events(plan: Plan) -> Iterator[Row]:
    """Measure events per second with samples of 100 and 10,000 values."""
    placement = plan.placement
    with stack_processes.firestore(plan.new_folder("function"), placement.other) as (commands, firestore):
        database = stack_processes.client(commands.address)
        with commands.function(placement.one) as function:
            url = f"http://127.0.0.1:{commands.port('function')}/"
            headers = _headers() | {"authorization": f"Bearer {commands.event_secret}"}
            for values in EVENT_VALUES:
                target = Target(url, _body(values), "", headers)

                def measure(target: Target = target) -> tuple[Outcome, str]:
                    before = stack_processes.count(database, stack_processes.RESULTS)
                    busy, firestore_busy = Busy(function.pid), Busy(firestore.pid)
                    outcome = wrk.run(target, connections=CONNECTIONS, seconds=plan.seconds, processors=placement.other)
                    share, firestore_share = busy.share(), firestore_busy.share()
                    shares = (
                        f"function {share:.0%}, store {firestore_share:.0%}, {outcome.rate / share:,.0f}/s per core"
                    )
                    stored = stack_processes.count(database, stack_processes.RESULTS) - before
                    wrk.compare(outcome.good, stored, CONNECTIONS)
                    return outcome, shares

                outcome, shares = repeat(plan, measure, by=lambda each: each[0].rate)
                what = f"function, events of {values:,} values, one core"
                yield Row(what, Figure(outcome.rate, "events/s", shares))


def _body(values: int) -> bytes:
    """Return the event that Eventarc sends for a new sample."""
    sample = received_sample(samples.sample(values), submitter=stack_processes.SUBMITTER)
    path, stored = sample.document()
    if sample.header.chunks:
        raise ValueError(f"{values} values do not fit into an event")
    now = datetime.now(UTC)
    data: Any = DocumentEventData.pb()()
    document = encoding.to_write(f"{DATABASE}/documents/{path}", dict(stored) | {"submitted_at": now}).update
    document.create_time.FromDatetime(now)
    document.update_time.FromDatetime(now)
    data.value.MergeFromString(document.SerializeToString())
    body: bytes = data.SerializeToString()
    return body.replace(sample.header.id.encode(), NEW_ID.encode())


def _headers() -> dict[str, str]:
    path = f"{stack_processes.SAMPLES}/{NEW_ID}"
    return {
        "ce-specversion": "1.0",
        "ce-id": NEW_ID,
        "ce-source": f"//firestore.googleapis.com/{DATABASE}",
        "ce-type": "google.cloud.firestore.document.v1.written",
        "ce-subject": f"documents/{path}",
        "ce-document": path,
        "ce-database": "(default)",
        "ce-project": stack_processes.PROJECT,
        "ce-time": "2026-11-23T22:00:00.000001Z",
        "content-type": "application/protobuf",
    }
