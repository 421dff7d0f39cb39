"""The write probe: whether Firestore accepts writes now.

The batches of the group-commit writer show this at no cost. The probe writes only if the writer has sent none for a
while, or if Firestore has refused the last one.
"""

import asyncio
import math

from runtime.shared_tasks import SharedTasks
from storage.documents import Unavailable
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.writes.group_commit_writer import GroupCommitWriter


class WriteProbe:
    """Tries a write if the last outcome of `writer` is not enough."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        self._firestore = firestore
        self._writer = writer
        self._attempts = SharedTasks[None, None]()

    async def check(self, timeout_seconds: float, max_age_seconds: float) -> None:
        """Return if Firestore accepts writes. Otherwise raise `Unavailable` or `FirestoreError`.

        This method tries a write, unless the last write was accepted less than `max_age_seconds` ago. Concurrent checks
        share an attempt. A slow write is not refused: if the attempt takes longer than `timeout_seconds`, the last
        outcome counts.
        """
        if asyncio.get_running_loop().time() - self._writer.accepted_at < max_age_seconds:
            return
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._attempts.run(None, self._try_write)
        except TimeoutError:
            if self._writer.accepted_at == -math.inf:
                raise Unavailable(f"Firestore has not confirmed a write within {timeout_seconds:g} s") from None

    async def close(self) -> None:
        """Cancel the attempt that has no outcome yet."""
        await self._attempts.cancel()

    async def _try_write(self) -> None:
        try:
            await self._firestore.check_writes(self._writer.timeout_seconds)
        except (Unavailable, FirestoreError):
            self._writer.note_outcome(is_accepted=False)
            raise
        self._writer.note_outcome(is_accepted=True)
