"""A listener handles every kind of response of a Listen stream, sent by a scripted server."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest
from google.cloud.firestore_v1.types import firestore as _protocol

from graphql_api.live.listener import Listener, ListenTarget, WrittenResult
from storage.firestore.client import Firestore
from storage.firestore.messages import ListenRequest, ListenResponse
from tests.stack import PATIENCE_SECONDS

Kind = _protocol.TargetChange.TargetChangeType
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return the time this many seconds after `START`."""
    return START + timedelta(seconds=seconds)


def change(kind: int, *, named: bool = True, seconds: float | None = None, token: bytes = b"", cause: int = 0) -> Any:
    """Return a change of the only target, or of all targets if it is not named."""
    response = ListenResponse()
    response.target_change.target_change_type = kind
    response.target_change.target_ids.extend([1] if named else [])
    response.target_change.resume_token = token
    if seconds is not None:
        response.target_change.read_time.FromDatetime(at(seconds))
    if cause:
        response.target_change.cause.code = cause
    return response


def document(name: str, seconds: float, target_id: int = 1) -> Any:
    """Return the change of a result document that was written at a time."""
    response = ListenResponse()
    shown = response.document_change
    shown.document.name = f"projects/p/databases/(default)/documents/submitters/s/results/{name}"
    shown.document.update_time.FromDatetime(at(seconds))
    shown.target_ids.append(target_id)
    return response


def deletion(name: str) -> Any:
    """Return the deletion of a document."""
    response = ListenResponse()
    response.document_delete.document = f"projects/p/databases/(default)/documents/submitters/s/results/{name}"
    response.document_delete.removed_target_ids.append(1)
    return response


def existence(count: int) -> Any:
    """Return an existence filter with the number of documents."""
    response = ListenResponse()
    response.filter.target_id = 1
    response.filter.count = count
    return response


CURRENT = [change(Kind.ADD), change(Kind.CURRENT, seconds=0)]


def snapshot(seconds: float, token: bytes = b"token") -> Any:
    """Return the completion of a snapshot of all targets."""
    return change(Kind.NO_CHANGE, named=False, seconds=seconds, token=token)


class Subscriber:
    """A listener with one target, and the snapshots and the error it receives."""

    def __init__(self, address: str, max_silence_seconds: float) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        firestore = Firestore(self._channel, "projects/p/databases/(default)", timeout_seconds=5)
        self._listener = Listener(firestore, max_silence_seconds)
        self.results: asyncio.Queue[list[str]] = asyncio.Queue()
        self.ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._target: ListenTarget | None = ListenTarget(
            "s", START, on_snapshot=self._on_snapshot, on_end=self.ended.set_result
        )
        self._listener.add(self._target)

    def _on_snapshot(self, read_time: datetime, snapshot: Sequence[WrittenResult]) -> None:
        if snapshot:
            self.results.put_nowait([written.position[1] for written in snapshot])

    def listen_again(self) -> None:
        """Add another target, after `leave`. The ids of targets continue."""
        self._target = ListenTarget("s", START, on_snapshot=self._on_snapshot, on_end=self.ended.set_result)
        self._listener.add(self._target)

    async def next(self) -> list[str]:
        """Wait for the next snapshot with results; return their ids."""
        return await asyncio.wait_for(self.results.get(), PATIENCE_SECONDS)

    def leave(self) -> asyncio.Event:
        """Remove the target; return an event that is set when the target is freed."""
        target, self._target = self._target, None
        assert target is not None
        self._listener.remove(target)
        freed = asyncio.Event()
        weakref.finalize(target, freed.set)
        return freed

    async def close(self) -> None:
        """Stop listening and close the channel."""
        await self._listener.close()
        await self._channel.close()


class Script:
    """A server that answers one stream after the other with the given responses.

    The last stream stays open. The other streams break after their responses, or stay open if `is_silent` is set.
    """

    def __init__(self, *streams: Iterable[Any], is_silent: bool = False) -> None:
        self._streams = list(streams)
        self._is_silent = is_silent
        self.requested: list[Any] = []
        self.closed = asyncio.Event()

    async def listen(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Send the next responses when a target is requested, then break the stream or keep it open."""
        async for request in requests:
            self.requested.append(request.add_target)
            for response in self._streams.pop(0) if self._streams else []:
                yield response
            if self._streams and not self._is_silent:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "on purpose")
            try:
                await asyncio.Event().wait()
            finally:
                self.closed.set()


@pytest.fixture
async def scripted() -> AsyncIterator[Any]:
    """Return a function that connects a listener to a script."""
    opened: list[Any] = []

    async def connect(script: Script, max_silence_seconds: float = PATIENCE_SECONDS) -> Subscriber:
        server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            script.listen,
            request_deserializer=ListenRequest.FromString,
            response_serializer=ListenResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler("google.firestore.v1.Firestore", {"Listen": handler})
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        subscriber = Subscriber(f"127.0.0.1:{port}", max_silence_seconds)
        opened.extend([subscriber.close, lambda: server.stop(None)])
        return subscriber

    yield connect
    for close in opened:
        await close()


async def test_a_snapshot_is_passed_on_whole_in_the_order_of_the_writes(scripted: Any) -> None:
    """The order in which documents arrive does not matter. Documents of one commit are ordered by id."""
    documents = [document("c", 3), document("b", 2), document("a", 2)]
    subscriber = await scripted(Script([*CURRENT, *documents, snapshot(3), document("d", 4), snapshot(4)]))

    assert [await subscriber.next(), await subscriber.next()] == [["a", "b", "c"], ["d"]]


async def test_a_reset_repeats_no_result(scripted: Any) -> None:
    """Firestore sends all documents again. Earlier ones are recognized by their update time."""
    before = [*CURRENT, document("a", 1), snapshot(1), document("b", 2)]
    again = [change(Kind.RESET), document("a", 1), snapshot(2), document("b", 2), document("c", 3)]
    subscriber = await scripted(Script([*before, *again, change(Kind.CURRENT, seconds=3), snapshot(3)]))

    assert [await subscriber.next(), await subscriber.next()] == [["a"], ["b", "c"]]


async def test_a_broken_stream_resumes_after_the_last_complete_snapshot(scripted: Any) -> None:
    """The resume token of that snapshot requests all later changes again."""
    script = Script(
        [*CURRENT, document("a", 1), snapshot(1, b"after a"), document("b", 2)],
        [*CURRENT, document("b", 2), snapshot(2)],
    )
    subscriber = await scripted(script)

    assert [await subscriber.next(), await subscriber.next()] == [["a"], ["b"]]
    assert [target.resume_token for target in script.requested] == [b"", b"after a"]


async def test_a_silent_stream_is_replaced(scripted: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Firestore sends a response about every 30 seconds, so the connection of a silent stream is broken."""
    script = Script([*CURRENT, snapshot(1, b"first")], [*CURRENT, document("a", 2), snapshot(2)], is_silent=True)
    subscriber = await scripted(script, max_silence_seconds=1.0)

    assert await subscriber.next() == ["a"]
    assert script.requested[1].resume_token == b"first"
    assert "no response on the Listen stream for 1 s" in caplog.text


async def test_a_stream_without_targets_is_closed_without_a_warning(
    scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Firestore reports nothing while a stream has no targets. The next target opens another stream."""
    second = [change(Kind.CURRENT, named=False, seconds=1), document("b", 2, target_id=2), snapshot(2)]
    script = Script([*CURRENT, document("a", 1), snapshot(1)], second, is_silent=True)
    subscriber = await scripted(script, max_silence_seconds=1.0)
    await subscriber.next()

    subscriber.leave()
    await asyncio.wait_for(script.closed.wait(), PATIENCE_SECONDS)
    assert "no response" not in caplog.text

    subscriber.listen_again()
    assert await subscriber.next() == ["b"]


async def test_an_existence_filter_is_ignored(scripted: Any) -> None:
    """It concerns deletions, which do not affect subscribers."""
    subscriber = await scripted(Script([*CURRENT, existence(7), document("a", 1), existence(0), snapshot(1)]))

    assert await subscriber.next() == ["a"]


async def test_a_result_deleted_before_its_snapshot_is_complete_is_not_passed_on(scripted: Any) -> None:
    """It does not exist at the time of the snapshot."""
    subscriber = await scripted(Script([*CURRENT, document("a", 1), document("b", 1), deletion("a"), snapshot(1)]))

    assert await subscriber.next() == ["b"]


async def test_a_target_removed_for_a_transient_reason_is_added_again(scripted: Any) -> None:
    """Subscribers do not notice it."""
    script = Script(
        [*CURRENT, document("a", 1), snapshot(1, b"after a"), change(Kind.REMOVE, cause=14)],
        [*CURRENT, document("b", 2), snapshot(2)],
    )
    subscriber = await scripted(script)

    assert [await subscriber.next(), await subscriber.next()] == [["a"], ["b"]]
    assert script.requested[-1].resume_token == b"after a"


async def test_a_target_that_firestore_rejects_ends(scripted: Any) -> None:
    """Subscribers receive an error, for example if the resume token is too old."""
    subscriber = await scripted(Script([change(Kind.ADD), change(Kind.REMOVE, cause=9)]))

    assert "subscribe again" in str(await asyncio.wait_for(subscriber.ended, PATIENCE_SECONDS))


async def test_a_removed_target_is_freed_while_the_stream_stays_open(scripted: Any) -> None:
    """A target refers to the log of its submitter, which may have thousands of results."""
    subscriber = await scripted(Script([*CURRENT, document("a", 1), snapshot(2)]))
    await subscriber.next()

    freed = subscriber.leave()

    await asyncio.wait_for(freed.wait(), PATIENCE_SECONDS)
