"""One Listen stream for the process, with a target for the results of each watched submitter.

A target starts at a read time instead of with all documents there are, so watching costs the same however
much is stored. What Firestore sends is held back until it says that a snapshot is whole, then handed
on in the order of the writes; the resume token moves at the same moment. So when the stream breaks, the next
one goes on exactly behind what was handed on: nothing is missing and nothing comes twice.

Two traps. After RESET Firestore sends every document again, and what was written up to `since` was handed on
before. An existence filter tells a client that keeps all documents that it has missed a deletion; nothing is
kept here, and no result is held back because another was deleted, so there is nothing to do about it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from operator import attrgetter
from typing import Any

import grpc.aio
from google.cloud.firestore_v1.types import firestore as _protocol

from graphql_api.live.written_result import Written
from storage.documents import Unavailable, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore, ListenRequest
from storage.firestore.errors import status_code
from storage.firestore.metrics import count_error
from storage.firestore.retry import TRANSIENT, backoff

_Kind = _protocol.TargetChange.TargetChangeType
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.1, 10.0
_MAX_SILENCE_SECONDS = 120.0  # Firestore sends something every half minute, if only that nothing changed

logger = logging.getLogger(__name__)


class Target:
    """The results of one submitter that are written after `since`, which moves with every snapshot.

    `heard` is called with the time of a snapshot and what was written up to it, in the order of the writes;
    `ended` when Firestore will not go on with the target.
    """

    def __init__(
        self,
        submitter: str,
        since: datetime,
        heard: Callable[[datetime, list[Written]], None],
        ended: Callable[[Unavailable], None],
    ) -> None:
        self.submitter = submitter
        self.since = since
        self.heard = heard
        self.ended = ended
        self.id = 0
        self.resume_token = b""
        self.pending: dict[str, Written] = {}
        self.added_to: Any = None
        self.current_on: Any = None
        """The stream on which it has caught up: only then does a snapshot of the stream hold for it."""


class Listener:
    """Keeps a stream open for as long as there are targets."""

    def __init__(self, firestore: Firestore) -> None:
        self._firestore = firestore
        self._targets: dict[int, Target] = {}
        self._last_id = 0
        self._call: Any = None
        self._sending = asyncio.Lock()
        self._has_targets = asyncio.Event()
        self._telling: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._listen_for_ever())

    async def close(self) -> None:
        """Stop listening."""
        tasks = {self._task, *self._telling}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def add(self, target: Target) -> None:
        """Listen to `target` too."""
        self._last_id += 1
        target.id = self._last_id
        self._targets[target.id] = target
        self._has_targets.set()
        self._begin(self._tell(target))

    def remove(self, target: Target) -> None:
        """Listen to `target` no longer."""
        self._forget(target)
        self._begin(self._tell_no_longer(target))

    def _begin(self, telling: Coroutine[None, None, None]) -> None:
        """Let a task of ours tell the stream: whoever asked may be cancelled in the middle of it."""
        task = asyncio.create_task(telling)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _listen_for_ever(self) -> None:
        pauses = backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
        while True:
            await self._has_targets.wait()
            call = self._call = self._firestore.listen()
            try:
                for target in list(self._targets.values()):
                    await self._tell(target)
                while (response := await _read(call)) is not grpc.aio.EOF:
                    if self._take(response):
                        pauses = backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
                logger.info("Firestore ended the Listen stream; opening another")
            except grpc.aio.AioRpcError as error:
                count_error(error.code())
                logger.warning("the Listen stream broke, opening another: %s %s", error.code().name, error.details())
            except Unavailable as error:
                logger.warning("%s; opening another stream", error)
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

    async def _tell(self, target: Target) -> None:
        """Tell the stream of `target`, once; without a stream, the next one is told when it opens."""
        async with self._sending:
            call = self._call
            if call is None or target.added_to is call or target.id not in self._targets:
                return
            target.added_to = call
            request = ListenRequest(database=self._firestore.database)
            added = request.add_target
            added.target_id = target.id
            added.query.parent = self._firestore.name(document_paths.submitter(target.submitter))
            added.query.structured_query.from_.add(collection_id=document_paths.RESULTS)
            if target.resume_token:
                added.resume_token = target.resume_token
            else:
                added.read_time.FromDatetime(target.since)
            await _write(call, request)

    async def _tell_no_longer(self, target: Target) -> None:
        async with self._sending:
            if self._call is not None and target.added_to is self._call:
                await _write(self._call, ListenRequest(database=self._firestore.database, remove_target=target.id))

    def _take(self, response: Any) -> bool:
        """Take in what the stream says; tell whether it was a whole snapshot."""
        kind = response.WhichOneof("response_type")
        if kind == "target_change":
            return self._target_change(response.target_change)
        if kind == "document_change":
            self._changed(response.document_change)
        elif kind in ("document_delete", "document_remove"):
            gone = getattr(response, kind)
            self._gone(gone.document, gone.removed_target_ids)
        return False

    def _changed(self, change: Any) -> None:
        self._gone(change.document.name, change.removed_target_ids)
        for target in self._named(change.target_ids):
            written = Written(target.submitter, change.document)
            if written.place[0] > target.since:
                target.pending[change.document.name] = written

    def _gone(self, document_name: str, target_ids: Any) -> None:
        for target in self._named(target_ids):
            target.pending.pop(document_name, None)

    def _target_change(self, change: Any) -> bool:
        targets = self._named(change.target_ids) if change.target_ids else list(self._targets.values())
        kind = change.target_change_type
        if kind == _Kind.REMOVE:
            if status_code(change.cause.code) in TRANSIENT:
                raise Unavailable(f"Firestore ended a target of the Listen stream: {change.cause.message}")
            for target in targets:
                logger.warning("Firestore ended the target of %s: %s", target.submitter, change.cause.message)
                self._forget(target)
                target.ended(Unavailable("Firestore ended this subscription; subscribe again after the last cursor"))
        elif kind == _Kind.CURRENT:
            for target in targets:
                target.current_on = self._call
        elif kind == _Kind.RESET:
            for target in targets:
                target.pending.clear()
                target.current_on = None
        elif kind == _Kind.NO_CHANGE and not change.target_ids and change.HasField("read_time"):
            read_time = encoding.to_datetime(change.read_time)
            for target in targets:
                if target.current_on is self._call:
                    _hand_on(target, read_time, change.resume_token)
            return True
        return False

    def _named(self, target_ids: Any) -> list[Target]:
        return [target for target_id in target_ids if (target := self._targets.get(target_id)) is not None]

    def _forget(self, target: Target) -> None:
        self._targets.pop(target.id, None)
        if not self._targets:
            self._has_targets.clear()


def _hand_on(target: Target, read_time: datetime, resume_token: bytes) -> None:
    target.since = max(target.since, read_time)
    target.resume_token = resume_token or target.resume_token
    pending = sorted(target.pending.values(), key=attrgetter("place"))
    target.pending.clear()
    target.heard(target.since, pending)


async def _read(call: Any) -> Any:
    async with asyncio.timeout(_MAX_SILENCE_SECONDS):
        return await call.read()


async def _write(call: Any, request: Any) -> None:
    """Write to the stream; that it is broken is dealt with where it is read."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(request)
