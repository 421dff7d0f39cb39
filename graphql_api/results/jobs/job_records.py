"""The records of jobs: each shows the progress of one deletion or recomputation."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from storage.documents import document_paths
from storage.documents.stored_fields import read_time
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Write
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

_INTERRUPTED_AFTER = timedelta(seconds=30)


class Job(Protocol):
    """The progress of a job."""

    @property
    def id(self) -> str:
        """The id of the job."""

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored record."""


MakeEntry = Callable[[str], Write]
"""Returns the `Write` of an entry of the audit log about the start of a job. Its argument is the id of the job."""

JobT = TypeVar("JobT", bound=Job)
StateT = TypeVar("StateT", bound=StrEnum)


class JobRecords(Generic[JobT]):
    """Reads and writes the records of one submitter. Callers pass the submitter of the authenticated credential.

    `path` returns the path of a record. `decode` returns the job in its fields, as it is at a time.
    """

    def __init__(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        path: Callable[[str, str], str],
        decode: Callable[[str, Mapping[str, object], datetime], JobT],
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._path = path
        self._decode = decode

    async def read(self, submitter: str, job_id: str) -> JobT | None:
        """Return the stored job, or None if it does not exist."""
        if not document_paths.is_uuid(job_id):
            return None
        path = self._path(submitter, job_id)
        documents = await self._firestore.batch_get([path])
        if not documents:
            return None
        now = await self._firestore.estimated_now()  # clients ask for the progress again and again
        return self._decode(job_id, encoding.from_document(documents[path]), now)

    async def now(self) -> datetime:
        """Return the time of Firestore's clock, which sets the times of records."""
        return await self._firestore.now()

    async def write(self, submitter: str, job: JobT, *entries: Write) -> None:
        """Store a job, with entries of the audit log. This replaces an earlier record with the same id."""
        name = self._firestore.name(self._path(submitter, job.id))
        await self._firestore.commit([*entries, encoding.to_write(name, job.fields())])


def stored_progress(
    states: type[StateT], fields: Mapping[str, object], now: datetime
) -> tuple[StateT, datetime, datetime]:
    """Return the state of a stored job at `now`, its start, and the time of its last record.

    A job is INTERRUPTED if it is stored as RUNNING and was not updated for 30 seconds.
    """
    started_at, updated_at = read_time(fields, "started_at"), read_time(fields, "updated_at")
    state = states(str(fields["state"]))
    if state is states["RUNNING"] and now - updated_at > _INTERRUPTED_AFTER:
        state = states["INTERRUPTED"]
    return state, started_at, updated_at
