"""A job while it runs, with the record of its progress."""

import time
from dataclasses import replace
from typing import Any, Generic

from graphql_api.results.jobs.job_records import J, JobRecords, S
from storage.firestore.messages import Write

_RECORD_INTERVAL_SECONDS = 5.0
"""How often a job stores its progress while one of its steps takes longer."""


class RecordedRun(Generic[J, S]):
    """The part of a run that stores the progress. `JobRunner` describes the rest."""

    def __init__(self, records: JobRecords[J], submitter: str, started: J) -> None:
        self.id = started.id
        self.submitter = submitter
        self.current = started
        """The progress. Its class is a dataclass."""
        self._records = records
        self._recorded = time.monotonic()

    async def record(self, state: S | None = None, *entries: Write) -> None:
        """Store the progress, with entries of the audit log. If `state` is set, change the state of the job."""
        if state is not None:
            progress: Any = self.current
            self.current = replace(progress, state=state)
        self._recorded = time.monotonic()
        await self._records.write(self.submitter, self.current, *entries)

    async def record_if_due(self) -> None:
        """Store the progress if it was not stored for a few seconds. Call this during long steps."""
        if time.monotonic() - self._recorded > _RECORD_INTERVAL_SECONDS:
            await self.record()
