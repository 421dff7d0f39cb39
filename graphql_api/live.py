"""Results as they are written: one Listen stream for the process, one target for each watched submitter.

A target starts at a read time instead of with all documents there are, so watching costs the same however
much is stored. What Firestore sends is held back until it says that a snapshot is whole, then handed
on in the order of the writes; the resume token moves at the same moment. So when the stream breaks, the next
one goes on exactly behind what subscribers have had: nothing is missing and nothing comes twice.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import grpc.aio
from google.cloud.firestore_v1.types import firestore as _protocol

from documents import DropzoneError, Unavailable, fields, names
from graphql_api import metrics
from graphql_api.firestore import Firestore, ListenRequest, backoff
from graphql_api.store import Written

_Kind = _protocol.TargetChange.TargetChangeType
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0
_LONGEST_SILENCE_SECONDS = 120.0  # Firestore sends something every half minute, if only that nothing changed

logger = logging.getLogger(__name__)


class Watch:
    """What one subscriber has not yet had: everything written after `since`, up to where it `overflowed`."""

    def __init__(self, length: int, since: datetime) -> None:
        self.since = since
        self._queue: asyncio.Queue[Written | DropzoneError] = asyncio.Queue(length)
        self.overflowed = False

    def put(self, item: Written | DropzoneError) -> None:
        """Add what was written or the error that ends the watch; once something had no room, nothing more."""
        if self.overflowed:
            return
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self.overflowed = True

    async def __aiter__(self) -> AsyncGenerator[Written, None]:
        """Yield what was written, in the order of the writes, as far as there was room for it.

        Raises `Unavailable` where Firestore ended the watch.
        """
        while not (self.overflowed and self._queue.empty()):
            item = await self._queue.get()
            if isinstance(item, DropzoneError):
                raise item
            yield item


@dataclass(slots=True, eq=False)
class _Target:
    id: int
    submitter: str
    since: datetime
    resume_token: bytes = b""
    all: set[Watch] = field(default_factory=set)
    by_sample: dict[str, set[Watch]] = field(default_factory=dict)
    pending: dict[str, Written] = field(default_factory=dict)
    added_to: Any = None
    current_on: Any = None
    """The stream on which it has caught up: only then does a snapshot of the stream hold for it."""

    def watches(self) -> set[Watch]:
        return self.all.union(*self.by_sample.values())


class Live:
    """Hands out what is written to the results of a submitter from now on."""

    def __init__(self, firestore: Firestore, *, queue_length: int) -> None:
        self._firestore = firestore
        self._queue_length = queue_length
        self._targets: dict[str, _Target] = {}
        self._by_id: dict[int, _Target] = {}
        self._last_id = 0
        self._call: Any = None
        self._sending = asyncio.Lock()
        self._somebody_watches = asyncio.Event()
        self._task = asyncio.create_task(self._listen_for_ever())

    async def close(self) -> None:
        """Stop listening."""
        self._task.cancel()
        await asyncio.wait([self._task])

    @contextlib.asynccontextmanager
    async def watch(self, submitter: str, sample_id: str | None = None) -> AsyncIterator[Watch]:
        """Give a `Watch` of every result of `submitter`, or of one sample, that is written from now on.

        Raises `Unavailable` where Firestore cannot be asked what "now" is.
        """
        now = None if submitter in self._targets else await self._firestore.now()
        target = self._targets.get(submitter)
        if target is None:
            assert now is not None
            self._last_id += 1
            target = _Target(self._last_id, submitter, now)
            self._targets[submitter] = self._by_id[target.id] = target
            self._somebody_watches.set()
        watch = Watch(self._queue_length, target.since)
        watches = target.all if sample_id is None else target.by_sample.setdefault(sample_id, set())
        watches.add(watch)
        metrics.SUBSCRIPTIONS.inc()
        try:
            await self._add(target)
            yield watch
        finally:
            metrics.SUBSCRIPTIONS.dec()
            watches.discard(watch)
            if sample_id is not None and not watches:
                target.by_sample.pop(sample_id, None)
            if not target.watches():
                await self._remove(target)

    async def _listen_for_ever(self) -> None:
        pauses = backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            await self._somebody_watches.wait()
            call = self._call = self._firestore.listen()
            try:
                for target in list(self._targets.values()):
                    await self._add(target)
                while (response := await _read(call)) is not grpc.aio.EOF:
                    self._take(response)
                    pauses = backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
                logger.info("Firestore ended the Listen stream; opening another")
            except grpc.aio.AioRpcError as error:
                metrics.firestore_errors(error.code().name).inc()
                logger.warning("the Listen stream broke, opening another: %s %s", error.code().name, error.details())
            except TimeoutError:
                logger.warning("the Listen stream is silent, opening another")
            except Exception:
                logger.exception("the Listen stream cannot be read, opening another")
            finally:
                self._call = None
                call.cancel()
            for target in self._targets.values():
                target.pending.clear()
            await asyncio.sleep(next(pauses))

    async def _add(self, target: _Target) -> None:
        """Tell the stream of `target`, once; without a stream, the next one is told when it opens."""
        async with self._sending:
            call = self._call
            if call is None or target.added_to is call or self._targets.get(target.submitter) is not target:
                return
            target.added_to = call
            request = ListenRequest(database=self._firestore.database)
            added = request.add_target
            added.target_id = target.id
            added.query.parent = self._firestore.name(names.submitter(target.submitter))
            added.query.structured_query.from_.add(collection_id=names.RESULTS)
            if target.resume_token:
                added.resume_token = target.resume_token
            else:
                added.read_time.FromDatetime(target.since)
            await self._write(call, request)

    async def _remove(self, target: _Target) -> None:
        self._forget(target)
        if not self._targets:
            self._somebody_watches.clear()
        async with self._sending:
            if self._call is not None and target.added_to is self._call:
                await self._write(self._call, ListenRequest(database=self._firestore.database, remove_target=target.id))

    async def _write(self, call: Any, request: Any) -> None:
        """Write to the stream; that it is broken is dealt with where it is read."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(request)

    def _take(self, response: Any) -> None:
        match response.WhichOneof("response_type"):
            case "document_change":
                self._change(response.document_change)
            case "target_change":
                self._target_change(response.target_change)

    def _change(self, change: Any) -> None:
        for target_id in change.target_ids:
            if (target := self._by_id.get(target_id)) is not None:
                try:
                    written = Written.from_document(target.submitter, change.document)
                except (KeyError, TypeError, ValueError):
                    logger.exception("passed over %s, which is no result", change.document.name)
                    continue
                if written.at > target.since:
                    target.pending[change.document.name] = written

    def _target_change(self, change: Any) -> None:
        named = (self._by_id.get(target_id) for target_id in change.target_ids)
        targets = [t for t in named if t] if change.target_ids else list(self._targets.values())
        kind = change.target_change_type
        if kind == _Kind.REMOVE:
            for target in targets:
                logger.warning("Firestore ended the target of %s: %s", target.submitter, change.cause.message)
                self._end(target)
        elif kind == _Kind.CURRENT:
            for target in targets:
                target.current_on = self._call
        elif kind == _Kind.RESET:
            for target in targets:
                target.pending.clear()
        elif kind == _Kind.NO_CHANGE and not change.target_ids and change.HasField("read_time"):
            for target in targets:
                if target.current_on is self._call:
                    self._hand_out(target, fields.to_datetime(change.read_time))
                    target.resume_token = change.resume_token or target.resume_token

    def _hand_out(self, target: _Target, read_time: datetime) -> None:
        """Give a whole snapshot to whoever watches."""
        target.since = max(target.since, read_time)
        for written in sorted(target.pending.values(), key=Written.place):
            for watch in target.all.union(target.by_sample.get(written.result.sample_id, ())):
                watch.put(written)
        target.pending.clear()

    def _forget(self, target: _Target) -> None:
        self._by_id.pop(target.id, None)
        if self._targets.get(target.submitter) is target:
            del self._targets[target.submitter]

    def _end(self, target: _Target) -> None:
        self._forget(target)
        for watch in target.watches():
            watch.put(Unavailable("Firestore ended this subscription; subscribe again after the last cursor"))


async def _read(call: Any) -> Any:
    async with asyncio.timeout(_LONGEST_SILENCE_SECONDS):
        return await call.read()
