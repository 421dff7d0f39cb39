"""The log of a submitter: who reads from which place of it."""

import asyncio
from datetime import UTC, datetime

from google.cloud.firestore_v1.types import document

from graphql_api.live.live_results import Log
from graphql_api.live.written_result import Written

_Document = document.Document.pb()


def _moment(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)


def _written(second: int, sample_id: str) -> Written:
    stored = _Document(name=f"submitters/s/results/{sample_id}")
    stored.update_time.FromDatetime(_moment(second))
    return Written("s", stored)


async def test_a_reader_who_is_ahead_of_the_log_has_nothing_twice() -> None:
    """A cursor of a query, or of another process, can be behind results that have not come here yet."""
    log = Log(_moment(0), 100)
    ahead = _written(5, "b")
    reading = asyncio.ensure_future(anext(log.after(ahead.place)))
    await asyncio.sleep(0)

    log.extend(_moment(6), [_written(4, "a"), ahead, _written(6, "c")])

    assert (await asyncio.wait_for(reading, 10)).place[1] == "c"
