"""The write probe: whether Firestore accepts writes now.

The batches of the group-commit writer show this at no cost. The probe writes only if the writer has sent none for a
while, or if Firestore has refused the last one.
"""

import asyncio
import math

from storage.documents import Unavailable
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError


class WriteProbe:
    """Remembers the last outcome of a write, and tries a write if this outcome is not enough."""

    def __init__(self, firestore: Firestore, timeout_seconds: float) -> None:
        self._firestore = firestore
        self._timeout_seconds = timeout_seconds
        self._accepted_at = -math.inf
        """When Firestore last accepted a write. `-inf` at the start, and after Firestore has refused a write."""
        self._attempt: asyncio.Task[Unavailable | FirestoreError | None] | None = None

    def note_accepted(self) -> None:
        """Record that Firestore has just accepted a write."""
        self._accepted_at = asyncio.get_running_loop().time()

    def note_refused(self) -> None:
        """Record that Firestore has just refused a write, or cannot be reached."""
        self._accepted_at = -math.inf

    async def check(self, timeout_seconds: float, max_age_seconds: float) -> None:
        """Return if Firestore accepts writes. Otherwise raise `Unavailable` or `FirestoreError`.

        This method tries a write, unless the last write was accepted less than `max_age_seconds` ago. Concurrent checks
        share an attempt. A slow write is not refused: if the attempt takes longer than `timeout_seconds`, the last
        outcome counts.
        """
        if asyncio.get_running_loop().time() - self._accepted_at < max_age_seconds:
            return
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._try_write())
        done, _ = await asyncio.wait({self._attempt}, timeout=timeout_seconds)
        error = next((each.result() for each in done), None)
        if not done and self._accepted_at == -math.inf:
            error = Unavailable(f"Firestore has not confirmed a write within {timeout_seconds:g} s")
        if error is not None:
            raise error

    def close(self) -> None:
        """Cancel the attempt that has no outcome yet."""
        if self._attempt is not None:
            self._attempt.cancel()

    async def _try_write(self) -> Unavailable | FirestoreError | None:
        try:
            await self._firestore.check_writes(self._timeout_seconds)
        except (Unavailable, FirestoreError) as error:
            self.note_refused()
            return error
        else:
            self.note_accepted()
            return None
        finally:
            self._attempt = None
