"""Listen: one stream, several targets, one snapshot for every commit.

Everything that happens to a stream - requests, commits, silence - is handled in one task in turn, so that
"consistent at" (NO_CHANGE without target ids) is only ever said when it is true of all targets. A resume
token is the last change that the stream has shown, which no step of the clock can confuse.
"""

import asyncio
import logging
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from infra.embedded.firestore.errors import ReadTimeTooOld, StatusError, invalid_argument, unavailable
from infra.embedded.firestore.listen.targets import DocumentsTarget, QueryTarget, Target
from infra.embedded.firestore.messages import ListenResponse, Status, microseconds, timestamp
from infra.embedded.firestore.queries import structured_query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.change_feed import Feed, ParsedChange, Queue
from infra.embedded.firestore.storage.clock import Snapshot

HEARTBEAT_SECONDS = 30.0
PAGE = 500
MAX_RESUME = 20_000
MAX_RESUME_BYTES = 16 * 1024 * 1024

NO_CHANGE, ADD, REMOVE, CURRENT, RESET = range(5)

_token = struct.Struct(">QQ")
logger = logging.getLogger(__name__)


class ListenStream:
    """One Listen call."""

    def __init__(self, feed: Feed, write: Callable[[Any], Awaitable[None]], database: str) -> None:
        self._feed = feed
        self._storage = feed.storage
        self._write = write
        self._database = database
        self._targets: dict[int, Target] = {}
        self._requests: deque[Any] = deque()
        self._queue = Queue()
        self._wake = asyncio.Event()
        self._ended = False
        self._closing = False
        self._position = feed.position

    def offer(self, changes: list[ParsedChange]) -> None:
        """Take note of changes from the feed."""
        self._queue.add(changes)
        self._wake.set()

    def close(self) -> None:
        """End the stream so that its client comes back: the server is going away."""
        self._closing = True
        self._wake.set()

    async def run(self, requests: AsyncIterator[Any]) -> None:
        """Serve the stream until the client is done with it."""
        reading = asyncio.create_task(self._read(requests))
        try:
            while not self._ended or self._requests:
                await self._step()
                if self._closing:
                    raise unavailable("The server is shutting down.")
            await reading
        except ReadTimeTooOld:
            raise unavailable("The stream fell too far behind.") from None
        finally:
            reading.cancel()
            for target in self._targets.values():
                self._feed.unsubscribe(self, target.topics)

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                self._requests.append(request)
                self._wake.set()
        finally:
            self._ended = True
            self._wake.set()

    async def _step(self) -> None:
        silent = False
        try:
            await asyncio.wait_for(self._wake.wait(), HEARTBEAT_SECONDS)
        except TimeoutError:
            silent = not self._wake.is_set()  # a commit may come at the very end of the wait
        if silent and self._targets:
            await self._consistent(self._feed.position)
        self._wake.clear()
        while self._requests or self._queue:
            await self._catch_up()
            if self._requests:
                await self._handle(self._requests.popleft())

    async def _handle(self, request: Any) -> None:
        if request.WhichOneof("target_change") == "remove_target":
            await self._remove(request.remove_target, None)
            return
        message = request.add_target
        target_id = message.target_id or max(self._targets, default=0) + 1
        try:
            target = self._target(target_id, message)
        except StatusError as refusal:
            await self._remove(target_id, refusal)
            return
        await self._add(target, message)

    def _target(self, target_id: int, message: Any) -> Target:
        kind = message.WhichOneof("target_type")
        if kind == "documents":
            return DocumentsTarget(target_id, self._database, list(message.documents.documents))
        if kind == "query":
            query = structured_query.read(message.query.parent, message.query.structured_query)
            if query.nearest is not None:
                raise invalid_argument("FindNearest cannot be listened to.")
            return QueryTarget(target_id, query)
        raise invalid_argument("A target must have documents or a query.")

    async def _add(self, target: Target, message: Any) -> None:
        if target.target_id in self._targets:
            self._forget(target.target_id)
        try:
            resumed = await self._resumed(message)
            await self._introduce(target, message, resumed)
        except ReadTimeTooOld:
            raise
        except StatusError as refusal:
            await self._remove(target.target_id, refusal)

    async def _introduce(self, target: Target, message: Any, resumed: Snapshot | None) -> None:
        """Show a new target as it is now, and keep it up to date from there."""
        await self._catch_up()
        position = self._feed.position  # nothing is queued, so every target is consistent here
        self._feed.subscribe(self, target.topics)
        self._targets[target.target_id] = target
        await self._send(ADD, [target.target_id])
        if resumed is None or not await self._replay(target, resumed, position):
            if message.WhichOneof("resume_type"):
                await self._send(RESET, [target.target_id])
            async for response in target.first(self._storage, position.read_time):
                await self._write(response)
        await self._send(CURRENT, [target.target_id], position)
        await self._consistent(position)
        if message.once:
            await self._remove(target.target_id, None)

    async def _resumed(self, message: Any) -> Snapshot | None:
        """Return the moment to go on from, or None if there is none that could be gone on from."""
        kind = message.WhichOneof("resume_type")
        if kind == "resume_token":
            if len(message.resume_token) != _token.size:
                raise invalid_argument("The resume token is invalid.")
            sequence, read_time = _token.unpack(message.resume_token)
        elif kind == "read_time":
            read_time = microseconds(message.read_time)
            sequence = await self._storage.read(lambda connection: versions.sequence_at(connection, read_time))
        else:
            return None
        if not self._storage.pruned <= sequence <= self._feed.position.sequence:
            return None
        if await self._storage.read(lambda connection: versions.committed(connection, sequence)) > read_time:
            return None  # a token of another file, or of this one before an earlier copy took its place
        return Snapshot(read_time, sequence)

    async def _replay(self, target: Target, resumed: Snapshot, position: Snapshot) -> bool:
        """Show what happened since the client last looked; False if that is too much to go through."""
        net: dict[str, ParsedChange] = {}
        size = 0
        after = resumed.sequence
        while after < position.sequence:
            page = await self._storage.changes(after, PAGE)
            for change in page:
                parsed = ParsedChange(change)
                if change.sequence <= position.sequence and target.concerns(parsed):
                    earlier = net.get(change.name)
                    net[change.name] = parsed if earlier is None else earlier.followed_by(change)
                    size += parsed.size
            if len(net) > MAX_RESUME or size > MAX_RESUME_BYTES:
                return False
            if not page:
                break
            after = page[-1].sequence
        if resumed.sequence < self._storage.pruned:
            return False  # pruned meanwhile
        if isinstance(target, QueryTarget):
            await target.remember(self._storage, resumed.read_time)
        async for response in target.after(self._storage, list(net.values()), position.read_time):
            await self._write(response)
        return True

    async def _catch_up(self) -> None:
        """Show what was committed, commit by commit."""
        while self._queue:
            if self._queue.overflowed:
                await self._read_on()
            else:
                await self._show(self._queue.take_commit())

    async def _read_on(self) -> None:
        """Go on from the file after the queue was given up."""
        limit = PAGE
        while True:
            if self._position.sequence < self._storage.pruned:
                raise unavailable("The stream fell too far behind.")
            target = self._feed.position.sequence
            if self._position.sequence >= target:
                self._queue.clear()
                return
            page = await self._storage.changes(self._position.sequence, limit)
            commits: dict[int, list[ParsedChange]] = {}
            for change in page:
                commits.setdefault(change.commit_time, []).append(ParsedChange(change))
            if len(page) == limit:
                if len(commits) == 1:
                    limit *= 2
                    continue
                commits.popitem()
            for commit in commits.values():
                await self._show(commit)

    async def _show(self, commit: list[ParsedChange]) -> None:
        sequence, commit_time = commit[-1].sequence, commit[-1].commit_time
        if sequence <= self._position.sequence:
            return
        shown = False
        for target in list(self._targets.values()):
            async for response in target.after(self._storage, commit, commit_time):
                await self._write(response)
                shown = True
        self._position = Snapshot(commit_time, sequence)
        if shown:
            await self._consistent(self._position)

    async def _consistent(self, position: Snapshot) -> None:
        if position.sequence >= self._position.sequence:
            self._position = position
        await self._send(NO_CHANGE, [], self._position)

    async def _remove(self, target_id: int, refusal: StatusError | None) -> None:
        self._forget(target_id)
        response = ListenResponse()
        response.target_change.target_change_type = REMOVE
        response.target_change.target_ids.append(target_id)
        if refusal is not None:
            response.target_change.cause.CopyFrom(Status(code=refusal.code_number, message=refusal.message))
        await self._write(response)

    def _forget(self, target_id: int) -> None:
        target = self._targets.pop(target_id, None)
        if target is not None:
            self._feed.unsubscribe(self, target.topics)
            for other in self._targets.values():
                self._feed.subscribe(self, other.topics)

    async def _send(self, change_type: int, target_ids: list[int], position: Snapshot | None = None) -> None:
        response = ListenResponse()
        change = response.target_change
        change.target_change_type = change_type
        change.target_ids.extend(target_ids)
        if position is not None:
            change.read_time.CopyFrom(timestamp(position.read_time))
            change.resume_token = _token.pack(position.sequence, position.read_time)
        await self._write(response)
