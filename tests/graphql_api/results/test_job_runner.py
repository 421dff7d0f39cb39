"""Jobs of several submitters that start at the same time."""

import asyncio
import logging
from typing import Any

import pytest

from graphql_api.results.jobs.job_runner import JobRun, JobRunner
from storage.documents import RateLimited, Unavailable
from storage.firestore.messages import Write

ENTRY = Write()


class SlowRun(JobRun[Any, str]):
    """A job whose record is stored when `stored` is set. It then ends at once."""

    id = "a"

    def __init__(self) -> None:
        self.stored = asyncio.Event()
        self.worked = asyncio.Event()

    async def record(self, state: str | None = None, *entries: Write) -> None:
        """Wait until the record is stored."""
        await self.stored.wait()

    async def work(self) -> str:
        """Note that the job has run."""
        self.worked.set()
        return "FINISHED"


class FailedRun(SlowRun):
    """A job that ends with an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.stored.set()
        self.states: list[str | None] = []
        self._error = error

    async def record(self, state: str | None = None, *entries: Write) -> None:
        """Note the state."""
        self.states.append(state)

    async def work(self) -> str:
        """Fail."""
        self.worked.set()
        raise self._error


@pytest.mark.parametrize(
    ("error", "level"), [(Unavailable("Firestore is away"), "WARNING"), (ValueError("wrong"), "ERROR")]
)
async def test_only_a_job_that_fails_unexpectedly_is_an_error(
    error: Exception, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage of Firestore interrupts a job. In the log, an ERROR with a traceback means a defect."""
    runner, failed = JobRunner("deletion", "INTERRUPTED"), FailedRun(error)

    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(60):
            await runner.start("one", failed, ENTRY)
            await failed.worked.wait()
        await runner.close()

    (record,) = caplog.records
    assert (record.levelname, record.exc_info is not None) == (level, level == "ERROR")
    assert failed.states == [None, "INTERRUPTED"]


async def test_a_slow_write_of_one_submitter_does_not_delay_the_jobs_of_others() -> None:
    """Firestore can take seconds to store a record."""
    runner = JobRunner("deletion", "INTERRUPTED")
    slow, other = SlowRun(), SlowRun()
    other.stored.set()
    starting = asyncio.create_task(runner.start("slow", slow, ENTRY))
    await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await runner.start("other", other, ENTRY)
        await other.worked.wait()

    starting.cancel()
    await runner.close()


async def test_a_submitter_starts_one_job_at_a_time() -> None:
    """A second job is refused while the record of the first one is being stored. After a failure, a job can start."""
    runner = JobRunner("deletion", "INTERRUPTED")
    first, second = SlowRun(), SlowRun()
    starting = asyncio.create_task(runner.start("one", first, ENTRY))
    await asyncio.sleep(0)

    with pytest.raises(RateLimited):
        await runner.start("one", second, ENTRY)

    starting.cancel()
    await asyncio.wait([starting])
    second.stored.set()
    async with asyncio.timeout(60):
        await runner.start("one", second, ENTRY)
        await second.worked.wait()
    await runner.close()
