"""The one way in: bytes become a stored sample, whichever door they came through.

Samples that came together are received together, since most of what one of them costs is done once for
all. Large ones are read off the event loop, and stored each for itself.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphql_api import metrics
from graphql_api.graphql_server.memory_budget import Capacity
from graphql_api.ingest.sample_writer import Outcome, SampleWriter
from storage.documents import Arrival, BadRequest, DropzoneError, Header, Identity, Sample, TooLarge, document_paths

_LARGE_BYTES = 256 * 1024
_READ_AT_ONCE = 32  # small samples, before others have their turn


@dataclass(frozen=True, slots=True)
class Receiver:
    """Validates and stores samples. `time_zone` stands in for a missing UTC offset, if there is one."""

    storage: SampleWriter
    max_sample_bytes: int
    time_zone: str | None
    shards: int
    capacity: Capacity

    async def receive(self, raw: bytes, *, submitter: str, idempotency_key: str | None = None) -> Header:
        """Store `raw`, accepted or rejected with its problems, and return its header once it is durable.

        Raises `NotJson` and `TooLarge` where there is nothing to keep, `BadRequest` for an unusable
        `idempotency_key`, `Conflict` where that was used for another sample, and `Unavailable`.
        """
        if idempotency_key is not None and not document_paths.is_idempotency_key(idempotency_key):
            most = document_paths.MAX_IDEMPOTENCY_KEY_CHARACTERS
            raise BadRequest(f"expected an idempotency key of 1 to {most} printable characters")
        if len(raw) > _LARGE_BYTES:
            return await self._receive_large(raw, submitter, idempotency_key)
        began = time.perf_counter()
        (outcome,) = await self.storage.add([self._sample(raw, submitter, idempotency_key)])
        if isinstance(outcome, Exception):
            raise outcome
        _count(outcome, began)
        return outcome

    async def receive_all(self, raws: Sequence[bytes], *, submitter: str) -> list[Outcome]:
        """Receive each of `raws` for itself; in place of a header stands the exception that `receive` would raise."""
        large = [place for place, raw in enumerate(raws) if len(raw) > _LARGE_BYTES]
        receiving_large = asyncio.gather(
            *(self._receive_large(raws[place], submitter, None) for place in large), return_exceptions=True
        )
        outcomes: dict[int, Any] = {}
        samples: dict[int, Sample] = {}
        began = time.perf_counter()
        for place, raw in enumerate(raws):
            try:
                if len(raw) <= _LARGE_BYTES:
                    samples[place] = self._sample(raw, submitter, None)
            except DropzoneError as error:
                outcomes[place] = error.with_traceback(None)  # which would keep all of this alive until it is collected
            except Exception as error:  # noqa: BLE001 - it is what came of this one, and harms no other
                outcomes[place] = error
            if place % _READ_AT_ONCE == _READ_AT_ONCE - 1:
                await asyncio.sleep(0)
        outcomes.update(zip(samples, await self.storage.add(list(samples.values())), strict=True))
        for place in samples:
            if isinstance(outcomes[place], Header):
                _count(outcomes[place], began)
        outcomes.update(zip(large, await receiving_large, strict=True))
        return [outcomes[place] for place in range(len(raws))]

    async def _receive_large(self, raw: bytes, submitter: str, idempotency_key: str | None) -> Header:
        if len(raw) > self.max_sample_bytes:
            raise TooLarge(f"a sample may have up to {self.max_sample_bytes:,} bytes, this one has {len(raw):,}")
        began = time.perf_counter()
        with self.capacity.share() as share:
            share.hold(len(raw))
            foreseeing = asyncio.ensure_future(asyncio.to_thread(Identity.foreseen, raw, submitter, idempotency_key))

            async def read() -> Sample:
                return await asyncio.to_thread(self._sample, raw, submitter, idempotency_key, await foreseeing)

            async def identify() -> Identity:
                return await foreseeing or (await reading).identity

            reading = asyncio.ensure_future(read())
            header = await self.storage.add_large(raw, identify(), reading)
        _count(header, began)
        return header

    def _sample(
        self, raw: bytes, submitter: str, idempotency_key: str | None, identity: Identity | None = None
    ) -> Sample:
        return Sample.receive(
            raw,
            submitter=submitter,
            idempotency_key=idempotency_key,
            time_zone=self.time_zone,
            shards=self.shards,
            identity=identity,
        )


def _count(header: Header, began: float) -> None:
    state = "PENDING" if header.arrival is Arrival.ACCEPTED else "REJECTED"
    metrics.submit_duration(state).observe(time.perf_counter() - began)
    metrics.SUBMITTED_BYTES.inc(header.byte_count)
