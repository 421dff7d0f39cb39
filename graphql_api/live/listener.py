"""The Listen stream of the process. It has one target for each submitter with subscribers.

A target starts at a read time. It does not start with all existing documents, so its cost does not depend on the number
of stored results. The listener buffers changes until Firestore reports that a snapshot is complete. It then passes the
snapshot on in the order of the writes, and stores the resume token in the same step. If the stream breaks, the next
stream resumes directly after the last snapshot. No change is lost, and no change is passed on twice.

Two facts of the protocol matter here. After RESET, Firestore sends all documents again, so the listener ignores changes
that were written up to `since`. An existence filter reports that a deletion was missed. The listener ignores this
report, because it caches no results and a deletion does not affect other results.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import grpc.aio

from observability import tracing
from storage.documents import Result, Status, Tombstone, Unavailable, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import status_code
from storage.firestore.messages import Document, DocumentChange, ListenRequest, ListenResponse, TargetChange
from storage.firestore.metrics import count_error
from storage.firestore.retry import TRANSIENT, backoff

_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.1, 10.0
_MAX_SILENCE_SECONDS = 120.0
"""Firestore sends a response about every 30 seconds, even without changes."""

Position = tuple[datetime, str]
"""The position of a result in the order of the writes: the time of the write, and the id of the sample."""

logger = logging.getLogger(__name__)


class WrittenResult:
    """A result document at the time of one write. All subscribers share it. It is decoded once, on first use."""

    __slots__ = ("_document", "_result", "_submitter", "_tombstone", "event", "position", "span")

    def __init__(self, submitter: str, document: Document) -> None:
        self.position: Position = encoding.to_datetime(document.update_time), document_paths.id_of(document.name)
        self.span: Any = None
        """If traces are on: the span from the arrival of the document until subscribers can read the result."""
        self.event: object = None
        """The event that subscribers receive. The first subscription sets it for all subscriptions."""
        self._submitter = submitter
        self._document: Document | None = document
        self._result: Result | None = None
        self._tombstone: Tombstone | None = None

    @property
    def result(self) -> Result | None:
        """The decoded result, or None if the document is not a valid result. This is then logged as an error."""
        self._decode()
        return self._result

    @property
    def tombstone(self) -> Tombstone | None:
        """The decoded tombstone, or None if the document is a result."""
        self._decode()
        return self._tombstone

    def _decode(self) -> None:
        if self._document is not None:
            document, self._document = self._document, None
            try:
                fields = encoding.from_document(document)
                self._result = Result.from_fields(self._submitter, self.position[1], fields)
                if self._result.status is Status.DELETED:
                    self._tombstone = Tombstone.from_fields(self._submitter, self.position[1], fields)
            except (KeyError, TypeError, ValueError):
                logger.exception("skipped %s: not a valid result", document.name)


class ListenTarget:
    """Listens to the results of one submitter that are written after `since`. Every snapshot advances `since`.

    `on_snapshot` receives the read time of a snapshot and the results written since the previous snapshot, in the order
    of the writes. When Firestore removes the target, `on_end` receives an error.
    """

    def __init__(
        self,
        submitter: str,
        since: datetime,
        *,
        on_snapshot: Callable[[datetime, Sequence[WrittenResult]], None],
        on_end: Callable[[Unavailable], None],
    ) -> None:
        self.submitter = submitter
        self.since = since
        self.on_end = on_end
        self.id = 0
        self.resume_token = b""
        self.buffer: dict[str, WrittenResult] = {}
        """The changes since the last snapshot, by document name."""
        self.added_to: Any = None
        """The stream that the target was added to."""
        self.current_on: Any = None
        """The stream on which the target is current. Only later snapshots of this stream include the target."""
        self._on_snapshot = on_snapshot

    def complete_snapshot(self, read_time: datetime, resume_token: bytes) -> None:
        """Pass the buffered changes to `on_snapshot`. After a break of the stream, resume after these changes."""
        self.since = max(self.since, read_time)
        self.resume_token = resume_token or self.resume_token
        snapshot = sorted(self.buffer.values(), key=attrgetter("position"))
        self.buffer.clear()
        self._on_snapshot(self.since, snapshot)


class Listener:
    """Opens a Listen stream while there are targets. Opens another stream if the current one breaks or is silent."""

    def __init__(self, firestore: Firestore, max_silence_seconds: float = _MAX_SILENCE_SECONDS) -> None:
        self._firestore = firestore
        self._max_silence_seconds = max_silence_seconds
        self._targets: dict[int, ListenTarget] = {}
        self._last_id = 0
        self._stream: Any = None
        self._write_lock = asyncio.Lock()
        self._has_targets = asyncio.Event()
        self._requests: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._listen_forever())

    async def close(self) -> None:
        """Stop listening."""
        tasks = {self._task, *self._requests}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def add(self, target: ListenTarget) -> None:
        """Start to listen to `target`."""
        self._last_id += 1
        target.id = self._last_id
        self._targets[target.id] = target
        self._has_targets.set()
        self._send(self._request_target(target))

    def remove(self, target: ListenTarget) -> None:
        """Stop listening to `target`."""
        self._forget(target)
        self._send(self._request_removal(target))

    def _send(self, request: Coroutine[None, None, None]) -> None:
        """Send a request in a separate task, so that cancelling the caller cannot interrupt the request."""
        task = asyncio.create_task(request)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _listen_forever(self) -> None:
        pauses: Iterator[float] | None = None
        while True:
            await self._has_targets.wait()
            stream = self._stream = self._firestore.listen()
            try:
                await self._request_targets()
                while (has_snapshot := await self._process_next(stream)) is not None:
                    if has_snapshot:
                        pauses = None  # the stream works, so the next failure starts with the first pause
                logger.info("Firestore ended the Listen stream; opening another")
            except grpc.aio.AioRpcError as error:
                count_error(error.code())
                logger.warning("the Listen stream broke; opening another: %s %s", error.code().name, error.details())
            except Unavailable as error:
                logger.warning("%s; opening another Listen stream", error)
            except TimeoutError:
                if self._targets:  # Firestore sends nothing on a stream without targets
                    seconds = self._max_silence_seconds
                    logger.warning("no response on the Listen stream for %g s; opening another", seconds)
            except Exception:
                logger.exception("cannot process a response of the Listen stream; opening another")
            finally:
                self._stream = None
                stream.cancel()
            self._clear_buffers()
            pauses = pauses or backoff(_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
            await asyncio.sleep(next(pauses))

    async def _request_targets(self) -> None:
        """Add all targets to the stream.

        This is not part of `_listen_forever`, because the frame of that method would keep the results of a target in
        memory.
        """
        for target in list(self._targets.values()):
            await self._request_target(target)

    async def _process_next(self, stream: Any) -> bool | None:
        """Wait for a response and apply it. Return whether it completed a snapshot, or None if the stream has ended."""
        async with asyncio.timeout(self._max_silence_seconds):
            response = await stream.read()
        return None if response is grpc.aio.EOF else self._process(response)

    def _clear_buffers(self) -> None:
        for target in self._targets.values():
            target.buffer.clear()

    async def _request_target(self, target: ListenTarget) -> None:
        """Add `target` to the stream, at most once. If no stream is open, add it when the next stream opens."""
        async with self._write_lock:
            stream = self._stream
            if stream is None or target.added_to is stream or target.id not in self._targets:
                return
            target.added_to = stream
            request = ListenRequest(database=self._firestore.database)
            added = request.add_target
            added.target_id = target.id
            added.query.parent = self._firestore.name(document_paths.submitter(target.submitter))
            added.query.structured_query.from_.add(collection_id=document_paths.RESULTS)
            if target.resume_token:
                added.resume_token = target.resume_token
            else:
                added.read_time.FromDatetime(target.since)
            await _write(stream, request)

    async def _request_removal(self, target: ListenTarget) -> None:
        async with self._write_lock:
            if self._stream is not None and target.added_to is self._stream:
                await _write(self._stream, ListenRequest(database=self._firestore.database, remove_target=target.id))

    def _process(self, response: ListenResponse) -> bool:
        """Apply a response. Return whether the response completed a snapshot."""
        kind = response.WhichOneof("response_type")
        if kind == "target_change":
            return self._process_target_change(response.target_change)
        if kind == "document_change":
            self._process_document_change(response.document_change)
        elif kind in ("document_delete", "document_remove"):
            deletion = getattr(response, kind)
            self._discard(deletion.document, deletion.removed_target_ids)
        return False

    def _process_document_change(self, change: DocumentChange) -> None:
        self._discard(change.document.name, change.removed_target_ids)
        for target in self._find_targets(change.target_ids):
            written = WrittenResult(target.submitter, change.document)
            if written.position[0] > target.since:
                if tracing.is_on and "traceparent" in change.document.fields:
                    parent = change.document.fields["traceparent"].string_value
                    written.span = tracing.start("fan out", "PRODUCER", parent=parent)
                target.buffer[change.document.name] = written

    def _discard(self, document_name: str, target_ids: Iterable[int]) -> None:
        for target in self._find_targets(target_ids):
            target.buffer.pop(document_name, None)

    def _process_target_change(self, change: TargetChange) -> bool:
        targets = self._find_targets(change.target_ids) if change.target_ids else list(self._targets.values())
        kind = change.target_change_type
        if kind == TargetChange.REMOVE:
            if status_code(change.cause.code) in TRANSIENT:
                raise Unavailable(f"Firestore removed a target of the Listen stream: {change.cause.message}")
            for target in targets:
                logger.warning(
                    "Firestore removed the target of submitter %s; its subscriptions end: %s",
                    target.submitter,
                    change.cause.message,
                )
                self._forget(target)
                target.on_end(
                    Unavailable("Firestore ended this subscription; subscribe again with the last cursor as `after`")
                )
        elif kind == TargetChange.CURRENT:
            for target in targets:
                target.current_on = self._stream
        elif kind == TargetChange.RESET:
            for target in targets:
                target.buffer.clear()
                target.current_on = None
        elif kind == TargetChange.NO_CHANGE and not change.target_ids and change.HasField("read_time"):
            read_time = encoding.to_datetime(change.read_time)
            for target in targets:
                if target.current_on is self._stream:
                    target.complete_snapshot(read_time, change.resume_token)
            return True
        return False

    def _find_targets(self, target_ids: Iterable[int]) -> list[ListenTarget]:
        return [target for target_id in target_ids if (target := self._targets.get(target_id)) is not None]

    def _forget(self, target: ListenTarget) -> None:
        self._targets.pop(target.id, None)
        if not self._targets:
            self._has_targets.clear()


async def _write(stream: Any, request: ListenRequest) -> None:
    """Write to the stream. Ignore errors here, because reading from a broken stream raises the same errors."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await stream.write(request)
