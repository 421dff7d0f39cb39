"""What a Listen stream may say beside documents, told by a server that says it on purpose."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest
from google.cloud.firestore_v1.types import firestore as _protocol

from graphql_api.live.listener import Listener, Target
from storage.firestore.client import Firestore, ListenRequest, ListenResponse

Kind = _protocol.TargetChange.TargetChangeType
START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE_SECONDS = 20


def at(seconds: float) -> datetime:
    """Return a moment after the start."""
    return START + timedelta(seconds=seconds)


def change(kind: int, *, named: bool = True, seconds: float | None = None, token: bytes = b"", cause: int = 0) -> Any:
    """Make a change of the only target, or of all where it is not named."""
    response = ListenResponse()
    response.target_change.target_change_type = kind
    response.target_change.target_ids.extend([1] if named else [])
    response.target_change.resume_token = token
    if seconds is not None:
        response.target_change.read_time.FromDatetime(at(seconds))
    if cause:
        response.target_change.cause.code = cause
    return response


def document(name: str, seconds: float) -> Any:
    """Make the document of a result that was written at a moment."""
    response = ListenResponse()
    shown = response.document_change
    shown.document.name = f"projects/p/databases/(default)/documents/submitters/s/results/{name}"
    shown.document.update_time.FromDatetime(at(seconds))
    shown.target_ids.append(1)
    return response


def deletion(name: str) -> Any:
    """Say that a document was deleted."""
    response = ListenResponse()
    response.document_delete.document = f"projects/p/databases/(default)/documents/submitters/s/results/{name}"
    response.document_delete.removed_target_ids.append(1)
    return response


def existence(count: int) -> Any:
    """Say how many documents there are."""
    response = ListenResponse()
    response.filter.target_id = 1
    response.filter.count = count
    return response


CURRENT = [change(Kind.ADD), change(Kind.CURRENT, seconds=0)]


def snapshot(seconds: float, token: bytes = b"token") -> Any:
    """Say that all targets are whole up to a moment."""
    return change(Kind.NO_CHANGE, named=False, seconds=seconds, token=token)


class Heard:
    """A listener with one target, and what came of it."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._listener = Listener(Firestore(self._channel, "projects/p/databases/(default)", timeout_seconds=5))
        self.results: asyncio.Queue[list[str]] = asyncio.Queue()
        self.ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._listener.add(Target("s", START, self._hear, self.ended.set_result))

    def _hear(self, read_time: datetime, written: list[Any]) -> None:
        if written:
            self.results.put_nowait([each.place[1] for each in written])

    async def next(self) -> list[str]:
        """Wait for the next snapshot that has something."""
        return await asyncio.wait_for(self.results.get(), PATIENCE_SECONDS)

    async def close(self) -> None:
        """Let go."""
        await self._listener.close()
        await self._channel.close()


class Script:
    """A server whose streams say what is written here, one after the other; the last one stays open."""

    def __init__(self, *streams: Iterable[Any]) -> None:
        self._streams = list(streams)
        self.asked: list[Any] = []

    async def listen(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Say what is next when a target was asked for, then break or wait."""
        async for request in requests:
            self.asked.append(request.add_target)
            for response in self._streams.pop(0):
                yield response
            if self._streams:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "on purpose")
            await asyncio.Event().wait()


@pytest.fixture
async def scripted() -> AsyncIterator[Any]:
    """Give what makes a listener hear a script."""
    opened: list[Any] = []

    async def hear(script: Script) -> Heard:
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
        heard = Heard(f"127.0.0.1:{port}")
        opened.extend([heard.close, lambda: server.stop(None)])
        return heard

    yield hear
    for close in opened:
        await close()


async def test_a_snapshot_is_handed_on_whole_and_in_the_order_of_the_writes(scripted: Any) -> None:
    """In whatever order its documents come; those of one commit by id."""
    documents = [document("c", 3), document("b", 2), document("a", 2)]
    heard = await scripted(Script([*CURRENT, *documents, snapshot(3), document("d", 4), snapshot(4)]))

    assert [await heard.next(), await heard.next()] == [["a", "b", "c"], ["d"]]


async def test_after_a_reset_nothing_comes_twice(scripted: Any) -> None:
    """All documents are sent again; those that were handed on before are known by their time."""
    before = [*CURRENT, document("a", 1), snapshot(1), document("b", 2)]
    again = [change(Kind.RESET), document("a", 1), snapshot(2), document("b", 2), document("c", 3)]
    heard = await scripted(Script([*before, *again, change(Kind.CURRENT, seconds=3), snapshot(3)]))

    assert [await heard.next(), await heard.next()] == [["a"], ["b", "c"]]


async def test_a_stream_that_breaks_goes_on_behind_the_last_whole_snapshot(scripted: Any) -> None:
    """What came after it is asked for again, by the token that came with it."""
    script = Script(
        [*CURRENT, document("a", 1), snapshot(1, b"after a"), document("b", 2)],
        [*CURRENT, document("b", 2), snapshot(2)],
    )
    heard = await scripted(script)

    assert [await heard.next(), await heard.next()] == [["a"], ["b"]]
    assert [asked.resume_token for asked in script.asked] == [b"", b"after a"]


async def test_an_existence_filter_ends_nothing(scripted: Any) -> None:
    """It is about deletions, which nobody here has to know."""
    heard = await scripted(Script([*CURRENT, existence(7), document("a", 1), existence(0), snapshot(1)]))

    assert await heard.next() == ["a"]


async def test_what_was_deleted_before_its_snapshot_was_whole_is_not_handed_on(scripted: Any) -> None:
    """At the moment of the snapshot it is not there."""
    heard = await scripted(Script([*CURRENT, document("a", 1), document("b", 1), deletion("a"), snapshot(1)]))

    assert await heard.next() == ["b"]


async def test_a_target_that_is_removed_for_a_passing_reason_is_added_again(scripted: Any) -> None:
    """Nobody who watches notices."""
    script = Script(
        [*CURRENT, document("a", 1), snapshot(1, b"after a"), change(Kind.REMOVE, cause=14)],
        [*CURRENT, document("b", 2), snapshot(2)],
    )
    heard = await scripted(script)

    assert [await heard.next(), await heard.next()] == [["a"], ["b"]]
    assert script.asked[-1].resume_token == b"after a"


async def test_a_target_that_firestore_refuses_is_ended(scripted: Any) -> None:
    """Such as one whose token is too old: whoever watches is told."""
    heard = await scripted(Script([change(Kind.ADD), change(Kind.REMOVE, cause=9)]))

    assert "subscribe again" in str(await asyncio.wait_for(heard.ended, PATIENCE_SECONDS))
