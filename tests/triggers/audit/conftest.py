"""An empty database for each test."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest

from storage.documents import Header, Result, Statistics, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import WriteResult
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.received import received_sample
from triggers.audit.audit import Audit
from triggers.audit.audit_documents import AuditState, Finding
from triggers.audit.audit_store import AuditStore
from triggers.result_store import ResultStore

NO_DELAY = timedelta(0)
PAYLOAD = b'{"time_stamp": "2026-11-27T00:00:00Z", "data": [1]}'


class Database:
    """An empty database, with samples and results that a test stores as API and function do."""

    def __init__(self, channel: grpc.aio.Channel, shards: int = 1) -> None:
        self.firestore = Firestore(channel, f"projects/{uuid.uuid4()}/databases/(default)", timeout_seconds=30)
        self.writer = GroupCommitWriter(self.firestore, timeout_seconds=30)
        self.shards = shards

    def store(self) -> AuditStore:
        """Return what an instance of the audit uses."""
        return AuditStore(self.firestore, self.writer, shards=self.shards)

    def audit(self, delay: timedelta = NO_DELAY, store: AuditStore | None = None) -> Audit:
        """Return an instance of the audit."""
        return Audit(store or self.store(), ResultStore(self.firestore, self.writer), delay=delay)

    async def submit(
        self, submitter: str, count: int, payload: bytes = PAYLOAD, expire_at: datetime | None = None
    ) -> list[Header]:
        """Store samples; return their headers with the time at which they were submitted."""
        headers = [received_sample(payload, submitter=submitter, shards=self.shards).header for _ in range(count)]
        for header in headers:
            header.expire_at = expire_at
        writes = [
            encoding.to_write(self.firestore.name(document_paths.sample(submitter, header.id)), header.fields())
            for header in headers
        ]
        for header, written in zip(headers, await self.writer.write_all(writes), strict=True):
            assert isinstance(written, WriteResult), written
            header.submitted_at = encoding.to_datetime(written.transform_results[0].timestamp_value)
        await self._wait_until_after(max(header.submitted_at for header in headers if header.submitted_at is not None))
        return headers

    async def _wait_until_after(self, time: datetime) -> None:
        """Wait until reads are later than a write. While another commit runs, they can be at the time of the write.

        An audit without a delay leaves out samples of the time of its read.
        """
        while await self.firestore.now() <= time:
            pass

    async def compute(self, headers: Sequence[Header], **changes: Any) -> None:
        """Store results of samples."""
        statistics = Statistics(1, 1.0, 0.0, 1.0, 1.0)
        writes = []
        for header in headers:
            assert header.submitted_at is not None
            result = Result(
                header.submitter, header.id, header.submitted_at, header.shard, Status.COMPUTED,
                timestamp=header.submitted_at, statistics=statistics, submitted_at=header.submitted_at,
            )  # fmt: skip
            name = self.firestore.name(document_paths.result(header.submitter, header.id))
            writes.append(encoding.to_write(name, result.fields() | changes))
        await self.writer.write_all(writes)

    async def fields(self, path: str) -> dict[str, object] | None:
        """Return the fields of a document, or None if it does not exist."""
        document = (await self.firestore.batch_get([path])).get(path)
        return None if document is None else encoding.from_document(document)

    async def triggered(self, headers: Sequence[Header]) -> list[str]:
        """Return the ids of the samples that were triggered again."""
        paths = [document_paths.sample(header.submitter, header.id) for header in headers]
        documents = await self.firestore.batch_get(paths)
        return [
            header.id
            for header, path in zip(headers, paths, strict=True)
            if "recompute_requested_at" in documents[path].fields
        ]

    async def state(self) -> AuditState:
        """Return the state of the audit."""
        state = await self.store().read_state()
        assert state is not None
        return state

    async def change_state(self, **changes: object) -> None:
        """Change fields of the state of the audit."""
        state = await self.state()
        await self._put(document_paths.audit(), state.fields() | changes)

    async def age(self, finding: Finding, hours: float, hours_since_due: float = 0.5) -> None:
        """Make a finding older. It was due `hours_since_due` ago."""
        now = datetime.now(UTC)
        changes: dict[str, object] = {
            "found_at": now - timedelta(hours=hours),
            "due_at": now - timedelta(hours=hours_since_due),
        }
        await self._put(document_paths.audit_finding(finding.id), finding.fields() | changes)

    async def _put(self, path: str, fields: dict[str, object]) -> None:
        await self.writer.write(encoding.to_write(self.firestore.name(path), fields))


@pytest.fixture
def database(channel: grpc.aio.Channel) -> Database:
    """An empty database with one shard."""
    return Database(channel)
