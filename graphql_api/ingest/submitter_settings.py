"""The settings of a submitter: how long samples and results are kept, and whether nulls in samples are skipped.

Each process caches the settings of a submitter for some seconds, so that most submissions read nothing.

Expiry times are based on Firestore's clock. If they were based on the clock of an API machine, and this clock was
wrong, Firestore could delete new samples immediately.
"""

import time
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from cachetools import LRUCache

from runtime.shared_tasks import SharedTasks
from storage.documents import Expiry, Retention, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Write

CACHE_SECONDS = 10.0
"""How long a change may take until all processes apply it."""

_SKIPS_MISSING = "skips_missing"
_MAX_CACHED_SUBMITTERS = 10_000


class CurrentSettings(NamedTuple):
    """The settings that apply to a sample that is submitted now."""

    expiry: Expiry
    skips_missing: bool


class _CachedSettings(NamedTuple):
    """The settings of a submitter, as they were read."""

    retention: Retention
    skips_missing: bool
    read_at: float
    """The monotonic time of the read."""


class SubmitterSettings:
    """Reads and changes the settings of submitters. `default_retention` applies if a submitter has no retention."""

    def __init__(self, firestore: Firestore, default_retention: Retention) -> None:
        self._firestore = firestore
        self.default_retention = default_retention
        self._cache: LRUCache[str, _CachedSettings] = LRUCache(_MAX_CACHED_SUBMITTERS)
        self._reads = SharedTasks[str, _CachedSettings]()

    async def retention(self, submitter: str) -> tuple[Retention, bool]:
        """Return the retention of a submitter, and whether it is the default."""
        own = Retention.from_fields(await self._stored(submitter))
        return (self.default_retention, True) if own is None else (own, False)

    async def set_retention(self, submitter: str, retention: Retention | None, entry: Write) -> None:
        """Store the retention of a submitter, with an entry of the audit log. None: use the default.

        Raises `BadRequest` if the retention is not allowed.
        """
        if retention is not None:
            retention.check()
        await self._change(submitter, {} if retention is None else retention.fields(), Retention().fields(), entry)

    async def skips_missing(self, submitter: str) -> bool:
        """Return whether nulls are skipped in all samples of a submitter."""
        return _SKIPS_MISSING in await self._stored(submitter)

    async def set_skips_missing(self, submitter: str, entry: Write, *, skips_missing: bool) -> None:
        """Store whether nulls are skipped in all samples of a submitter, with an entry of the audit log."""
        await self._change(submitter, {_SKIPS_MISSING: True} if skips_missing else {}, [_SKIPS_MISSING], entry)

    async def current(self, submitter: str) -> CurrentSettings:
        """Return the settings that apply to a sample that this submitter submits now."""
        cached = self._cache.get(submitter)
        if cached is None or time.monotonic() - cached.read_at > CACHE_SECONDS:
            cached = await self._reads.run(submitter, partial(self._read, submitter))
        if cached.retention == Retention():
            return CurrentSettings(Expiry(), cached.skips_missing)
        return CurrentSettings(cached.retention.expiry(await self._firestore.estimated_now()), cached.skips_missing)

    async def _stored(self, submitter: str) -> dict[str, object]:
        path = document_paths.settings(submitter)
        document = (await self._firestore.batch_get([path])).get(path)
        return {} if document is None else encoding.from_document(document)

    async def _change(self, submitter: str, fields: dict[str, object], names: Iterable[str], entry: Write) -> None:
        """Store `fields` and `entry`. Remove the fields in `names` that are not in `fields`."""
        write = encoding.to_write(self._firestore.name(document_paths.settings(submitter)), fields)
        write.update_mask.field_paths.extend(names)
        await self._firestore.commit([entry, write])
        self._cache.pop(submitter, None)
        self._reads.invalidate(submitter)  # this read may return the earlier settings

    async def _read(self, submitter: str) -> _CachedSettings:
        started = time.monotonic()
        stored = await self._stored(submitter)
        retention = Retention.from_fields(stored) or self.default_retention
        cached = _CachedSettings(retention, _SKIPS_MISSING in stored, started)
        if self._reads.is_current(submitter):
            self._cache[submitter] = cached
        return cached
