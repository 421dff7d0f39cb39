"""`POST /audit`: runs the audit. The caller is Cloud Scheduler, or the schedule in the stack file on one machine."""

from datetime import timedelta

from starlette.exceptions import HTTPException

from storage.documents import Unavailable
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from triggers.audit.audit import Audit
from triggers.audit.audit_store import AuditStore
from triggers.result_store import ResultStore

TIMEOUT_SECONDS = 30.0


class AuditEndpoint:
    """Runs the audit with the Firestore that the environment selects."""

    def __init__(self, *, shards: int, delay_seconds: float) -> None:
        self._shards = shards
        self._delay = timedelta(seconds=delay_seconds)
        self._audit: Audit | None = None

    async def run(self, _: bytes) -> dict[str, object]:
        """Run the audit once. Return its report. Raises `HTTPException` if Firestore does not respond."""
        if self._audit is None:  # the channel belongs to the running event loop
            firestore = Firestore.connect(timeout_seconds=TIMEOUT_SECONDS)
            writer = GroupCommitWriter(firestore, timeout_seconds=TIMEOUT_SECONDS)
            store = AuditStore(firestore, writer, shards=self._shards)
            self._audit = Audit(store, ResultStore(firestore, writer), delay=self._delay)
        try:
            report = await self._audit.run()
        except (Unavailable, FirestoreError) as error:
            raise HTTPException(503, f"the audit continues at the next call: {error}") from error
        return {"running": True} if report is None else report.values()
