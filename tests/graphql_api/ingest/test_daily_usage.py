"""Storing what counts towards daily quotas: without a quota nothing runs, and no error ends the task."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from graphql_api.auth.caller import Caller
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.ingest.daily_usage import DailyUsage
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

SENDER = Caller("one", frozenset())


class DamagedWriter:
    """Raises an error that no code expects at the first write. Later writes succeed."""

    def __init__(self) -> None:
        self.writes = 0
        self.has_succeeded = asyncio.Event()

    async def write(self, write: Any, submitter: str) -> Any:
        """Raise the error, or return the new totals."""
        self.writes += 1
        if self.writes == 1:
            raise RuntimeError("a defect")
        self.has_succeeded.set()
        return SimpleNamespace(transform_results=[each.increment for each in write.update_transforms])


def daily_usage(writer: DamagedWriter, budgets: Budgets) -> DailyUsage:
    """Return what stores the usage of `budgets`."""
    firestore = SimpleNamespace(name=lambda path: f"projects/p/databases/d/documents/{path}")
    return DailyUsage(cast(Firestore, firestore), cast(GroupCommitWriter, writer), budgets)


async def test_no_task_runs_where_no_quota_is_set() -> None:
    """An idle process stays asleep."""
    tasks = asyncio.all_tasks()
    budgets = Budgets(Limits())
    usage = daily_usage(DamagedWriter(), budgets)
    budgets.admit_samples(SENDER, 1, 10)

    assert asyncio.all_tasks() == tasks
    await usage.close()


async def test_an_unexpected_error_is_logged_and_the_usage_is_stored_later(caplog: pytest.LogCaptureFixture) -> None:
    """The task ends as soon as everything is stored, and starts again with the next sample."""
    tasks = asyncio.all_tasks()
    budgets, writer = Budgets(Limits(max_samples_per_day_per_submitter=10)), DamagedWriter()
    usage = daily_usage(writer, budgets)
    for number in (1, 2):
        writer.has_succeeded.clear()
        budgets.admit_samples(SENDER, 1, 10)
        while not writer.has_succeeded.is_set():
            for quota in budgets.changed_quotas:
                quota.store_at = 0
            await asyncio.sleep(0.01)
        await asyncio.gather(*(asyncio.all_tasks() - tasks))

        assert writer.writes == number + 1
        assert len(budgets.changed_quotas) == 0

    (record,) = [each for each in caplog.records if each.name == "graphql_api" and each.levelno == logging.WARNING]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)
    await usage.close()
