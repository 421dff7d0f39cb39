"""Admission: whether a submitter may store more samples now.

A request with one sample is refused at once. A stream waits, and the server does not read it meanwhile. The stream is
refused if the backlog of its submitter stays at the limit.
"""

import asyncio
import time
from collections.abc import Callable

from graphql_api.budgets.budget import refusal
from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.submitters import SubmitterBudget
from storage.firestore.group_commit_writer import GroupCommitWriter

BACKLOG_RETRY_SECONDS = 5
_MAX_BACKLOG_WAIT_SECONDS = 30.0
_CHECK_SECONDS = 0.25


class Admission:
    """Applies the budgets of samples."""

    def __init__(self, budgets: Budgets, writer: GroupCommitWriter) -> None:
        self._budgets = budgets
        self._writer = writer

    def admit(self, submitter: str, count: int = 1) -> None:
        """Let `submitter` store `count` samples now. Raises `RateLimited` if a budget is exhausted."""
        budget = self._budgets.submitter(submitter)
        if _has_full_backlog(budget):
            pending = budget.pending_samples
            raise refusal(pending.limit, f"at most {pending.max_amount:,} without a result", BACKLOG_RETRY_SECONDS)
        budget.samples.take(count)

    async def wait(self, submitter: str, count: int, check: Callable[[], None]) -> None:
        """Wait until `submitter` may store `count` samples.

        `check` is called several times a second; it raises an exception to end the wait. Raises `RateLimited` if the
        backlog stays at its limit.
        """
        while not await self._writer.has_room(submitter):
            check()
        deadline = time.monotonic() + _MAX_BACKLOG_WAIT_SECONDS
        while True:
            budget = self._budgets.submitter(submitter)
            delay = budget.samples.delay_seconds
            if (not delay and not _has_full_backlog(budget)) or time.monotonic() > deadline:
                break
            check()
            await asyncio.sleep(min(delay or _CHECK_SECONDS, _CHECK_SECONDS))
        self.admit(submitter, count)


def _has_full_backlog(budget: SubmitterBudget) -> bool:
    return budget.pending_samples.used >= budget.pending_samples.max_amount
