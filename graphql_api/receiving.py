"""The one way in: bytes become a stored sample, whichever door they came through."""

import asyncio
import time
from dataclasses import dataclass

from documents import Arrival, BadRequest, Header, Sample, TooLarge, names
from graphql_api import metrics
from graphql_api.store import Store

_LARGE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Receiver:
    """Validates and stores samples. `time_zone` stands in for a missing UTC offset, if there is one."""

    store: Store
    largest_bytes: int
    time_zone: str | None
    shards: int

    async def receive(self, raw: bytes, *, submitter: str, idempotency_key: str | None = None) -> Header:
        """Store `raw`, accepted or rejected with its problems, and return its header once it is durable.

        Raises `NotJson` and `TooLarge` where there is nothing to keep, `BadRequest` for an unusable
        `idempotency_key`, `Conflict` where that was used for another sample, and `Unavailable`.
        """
        if len(raw) > self.largest_bytes:
            raise TooLarge(f"a sample may have up to {self.largest_bytes:,} bytes, this one has {len(raw):,}")
        if idempotency_key is not None and not names.is_idempotency_key(idempotency_key):
            most = names.MAX_IDEMPOTENCY_KEY_CHARACTERS
            raise BadRequest(f"expected an idempotency key of 1 to {most} printable characters")
        began = time.perf_counter()
        if len(raw) > _LARGE_BYTES:
            sample = await asyncio.to_thread(self._sample, raw, submitter, idempotency_key)
        else:
            sample = self._sample(raw, submitter, idempotency_key)
        header = await self.store.add(sample)
        state = "PENDING" if header.arrival is Arrival.ACCEPTED else "REJECTED"
        metrics.submit_seconds(state).observe(time.perf_counter() - began)
        metrics.SUBMITTED_BYTES.inc(len(raw))
        return header

    def _sample(self, raw: bytes, submitter: str, idempotency_key: str | None) -> Sample:
        return Sample.receive(
            raw,
            submitter=submitter,
            idempotency_key=idempotency_key,
            time_zone=self.time_zone,
            shards=self.shards,
        )
