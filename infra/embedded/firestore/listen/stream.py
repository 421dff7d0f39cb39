"""A Listen stream: it serves several targets and sends one consistent snapshot for each commit.

One task handles the requests, commits and heartbeats of a stream, one after another. The stream therefore sends a
consistent snapshot (NO_CHANGE without target ids) only when the snapshot is valid for all targets.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from infra.embedded.firestore.errors import ReadTimeTooOld, StatusError, invalid_argument, unavailable
from infra.embedded.firestore.listen import resume
from infra.embedded.firestore.listen.targets import DocumentsTarget, QueryTarget, Target
from infra.embedded.firestore.listen.turns import Turns
from infra.embedded.firestore.messages import ListenResponse, Status, timestamp
from infra.embedded.firestore.queries import structured_query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.change_feed import ChangeFeed, ChangeQueue, ParsedChange, Subscriptions
from infra.embedded.firestore.storage.clock import Snapshot

HEARTBEAT_SECONDS = 30.0
PAGE_SIZE = 500
MAX_WAITING_REQUESTS = 10
"""The requests that a stream reads in advance, while it waits for a client that does not read its responses."""
TOO_SLOW = "The stream is too slow: changes that it has not sent are pruned. Listen again."

NO_CHANGE, ADD, REMOVE, CURRENT, RESET = range(5)


class ListenStream:
    """One Listen call. The function `write` sends a response to the client."""

    def __init__(self, feed: ChangeFeed, turns: Turns, write: Callable[[Any], Awaitable[None]], database: str) -> None:
        self._feed = feed
        self._turns = turns
        self._storage = feed.storage
        self._write = write
        self._database = database
        self._targets: dict[int, Target] = {}
        self._subscriptions = Subscriptions[Target]()
        self._requests: deque[Any] = deque()
        self._room = asyncio.Semaphore(MAX_WAITING_REQUESTS)
        self._queue = ChangeQueue()
        self._wake = asyncio.Event()
        self._has_all_requests = False
        self._is_closing = False
        self._position = feed.position
        self._loop = asyncio.get_running_loop()
        self._heartbeat_at = self._loop.time() + HEARTBEAT_SECONDS

    def offer(self, changes: list[ParsedChange]) -> None:
        """Add changes from the change feed to the queue of this stream."""
        self._queue.add(changes)
        self._wake.set()

    def close(self) -> None:
        """End the stream with UNAVAILABLE, so that the client reconnects."""
        self._is_closing = True
        self._wake.set()

    async def run(self, requests: AsyncIterator[Any]) -> None:
        """Serve the stream until the client closes it."""
        reading = asyncio.create_task(self._read_requests(requests))
        try:
            while not self._has_all_requests or self._requests:
                await self._step()
                if self._is_closing:
                    raise unavailable("The server is shutting down.")
            await reading
        except ReadTimeTooOld:
            raise unavailable(TOO_SLOW) from None
        finally:
            reading.cancel()
            for target in self._targets.values():
                self._feed.unsubscribe(self, target.topics)

    async def _read_requests(self, requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                await self._room.acquire()
                self._requests.append(request)
                self._wake.set()
        finally:
            self._has_all_requests = True
            self._wake.set()

    async def _step(self) -> None:
        """Wait for requests or changes and handle them. Send a heartbeat if none arrive until it is due."""
        try:
            async with asyncio.timeout_at(self._heartbeat_at):
                await self._wake.wait()
        except TimeoutError:
            if not self._wake.is_set():  # a commit can arrive at the same time as the timeout
                await self._send_heartbeat()
        self._wake.clear()
        while self._requests or self._queue:
            await self._send_queued_commits()
            if self._requests:
                request = self._requests.popleft()
                self._room.release()
                await self._handle(request)

    async def _handle(self, request: Any) -> None:
        if request.WhichOneof("target_change") == "remove_target":
            await self._remove_target(request.remove_target, None)
            return
        message = request.add_target
        target_id = message.target_id or max(self._targets, default=0) + 1
        try:
            target = self._parse_target(target_id, message)
            self._forget(target_id)
            resumed = await resume.resume_position(self._storage, message, self._feed.position)
            await self._add_target(target, message, resumed)
        except ReadTimeTooOld:
            raise
        except StatusError as error:
            await self._remove_target(target_id, error)

    def _parse_target(self, target_id: int, message: Any) -> Target:
        target_type = message.WhichOneof("target_type")
        if target_type == "documents":
            return DocumentsTarget(target_id, self._database, list(message.documents.documents))
        if target_type == "query":
            query = structured_query.read(message.query.parent, message.query.structured_query)
            if query.find_nearest is not None:
                raise invalid_argument("FindNearest cannot be listened to.")
            return QueryTarget(target_id, query, self._turns)
        raise invalid_argument("A target must have documents or a query.")

    async def _add_target(self, target: Target, message: Any, resumed: Snapshot | None) -> None:
        """Send the current state of a target, or the changes after `resumed`, and subscribe to its changes."""
        await self._send_queued_commits()
        position = self._feed.position  # the queue is empty, so every target is consistent at this position
        self._feed.subscribe(self, target.topics)
        self._subscriptions.add(target, target.topics)
        self._targets[target.target_id] = target
        await self._send_target_change(ADD, [target.target_id])
        if resumed is None or not await self._send_missed_changes(target, resumed, position):
            # A client may have kept changes of a stream that broke before the first consistent snapshot.
            await self._send_target_change(RESET, [target.target_id])
            async for response in target.current_state(self._storage, position.read_time):
                await self._write(response)
        await self._send_target_change(CURRENT, [target.target_id], position)
        await self._send_consistent(position)
        if message.once:
            await self._remove_target(target.target_id, None)

    async def _send_missed_changes(self, target: Target, resumed: Snapshot, position: Snapshot) -> bool:
        """Send the changes after `resumed`. If the target must start again, send nothing and return False.

        A client may also have received a part of these changes, before its stream broke. A target with a window cannot
        know which documents it must then remove, so it starts again after any change.
        """
        changes = await resume.missed_changes(self._storage, target, resumed, position)
        if changes is None or (target.has_window and changes):
            return False
        if target.has_window:
            async for _ in target.current_state(self._storage, position.read_time):
                pass  # the client has these documents, and the target restores its window
        async for response in target.responses_to(self._storage, changes, position.read_time):
            await self._write(response)
        return True

    async def _send_queued_commits(self) -> None:
        while self._queue:
            if self._queue.overflowed:
                await self._send_commits_from_file()
            else:
                await self._send_commit(self._queue.pop_commit())

    async def _send_commits_from_file(self) -> None:
        """After an overflow of the queue, read commits from the file until the stream has sent all commits."""
        after = self._position.sequence
        commit: list[ParsedChange] = []  # may continue on the next page
        while after < self._feed.position.sequence or commit:
            page = await self._storage.changes(after, PAGE_SIZE)
            if after < await self._storage.read(versions.pruned_sequence):  # also during the read
                raise unavailable(TOO_SLOW)
            for change in page:
                if commit and change.commit_time != commit[0].commit_time:
                    await self._send_commit(commit)
                    commit = []
                commit.append(ParsedChange(change))
                after = change.sequence
            if commit and not page:
                await self._send_commit(commit)
                commit = []
        self._queue.clear()

    async def _send_commit(self, commit: list[ParsedChange]) -> None:
        sequence, commit_time = commit[-1].sequence, commit[-1].commit_time
        if sequence <= self._position.sequence:
            return
        changes: defaultdict[Target, list[ParsedChange]] = defaultdict(list)
        for change in commit:
            await self._turns.take()
            for target in self._subscriptions.of(change.name):
                changes[target].append(change)
        has_sent = False
        for target, changes_of_target in changes.items():
            async for response in target.responses_to(self._storage, changes_of_target, commit_time):
                await self._write(response)
                has_sent = True
        self._position = Snapshot(commit_time, sequence)
        if has_sent or self._loop.time() >= self._heartbeat_at:  # nothing was sent if no target has the changes
            await self._send_consistent(self._position)

    async def _send_heartbeat(self) -> None:
        self._heartbeat_at = self._loop.time() + HEARTBEAT_SECONDS
        if self._targets:
            await self._send_consistent(self._feed.position)

    async def _send_consistent(self, position: Snapshot) -> None:
        """Report that all targets are consistent at a position."""
        if position.sequence >= self._position.sequence:
            self._position = position
        self._heartbeat_at = self._loop.time() + HEARTBEAT_SECONDS
        await self._send_target_change(NO_CHANGE, [], self._position)

    async def _remove_target(self, target_id: int, error: StatusError | None) -> None:
        self._forget(target_id)
        response = ListenResponse()
        response.target_change.target_change_type = REMOVE
        response.target_change.target_ids.append(target_id)
        if error is not None:
            response.target_change.cause.CopyFrom(Status(code=error.code_number, message=error.message))
        await self._write(response)

    def _forget(self, target_id: int) -> None:
        target = self._targets.pop(target_id, None)
        if target is not None:
            self._feed.unsubscribe(self, self._subscriptions.remove(target, target.topics))

    async def _send_target_change(
        self, change_type: int, target_ids: list[int], position: Snapshot | None = None
    ) -> None:
        response = ListenResponse()
        change = response.target_change
        change.target_change_type = change_type
        change.target_ids.extend(target_ids)
        if position is not None:
            change.read_time.CopyFrom(timestamp(position.read_time))
            change.resume_token = resume.encode_token(self._storage, position)
        await self._write(response)
