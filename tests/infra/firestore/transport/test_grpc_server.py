"""Both gRPC servers, independent of the service: failures, cancelled calls, slow clients, stopping."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.transport.grpc_aio_server import GrpcAioServer
from infra.embedded.firestore.transport.grpc_server import GrpcServer
from infra.embedded.firestore.transport.rpc import BearerToken, Call, Handler, RpcMethod, RpcServer
from tests.infra.firestore.server_process import FirestoreProcess

DEADLINE_SECONDS = 30
MESSAGE_COUNT = 400

Serve = Callable[..., AbstractAsyncContextManager[tuple[RpcServer, grpc.aio.Channel]]]


@pytest.fixture(params=[GrpcServer, GrpcAioServer])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Serve one handler as `/test/Call`, with documents as requests and responses."""

    @asynccontextmanager
    async def serve(
        handler: Handler,
        *,
        streams_requests: bool = False,
        streams_responses: bool = False,
        token: BearerToken | None = None,
    ) -> AsyncIterator[tuple[RpcServer, grpc.aio.Channel]]:
        method = RpcMethod(handler, m.Document, streams_requests, streams_responses)
        server: RpcServer = request.param({"/test/Call": method}, (), token)
        port = server.listen("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield server, channel
        finally:
            await server.stop(0)

    return serve


@pytest.mark.parametrize(
    ("method", "request_bytes", "code", "details"),
    [
        ("Unknown", b"", grpc.StatusCode.UNIMPLEMENTED, "Method not found!"),
        ("Commit", b"\xff\xff", grpc.StatusCode.INTERNAL, "Exception deserializing request!"),
    ],
)
def test_an_invalid_call_is_refused(
    firestore: FirestoreProcess, method: str, request_bytes: bytes, code: grpc.StatusCode, details: str
) -> None:
    """An unknown method or a malformed request ends only its own call."""
    with grpc.insecure_channel(firestore.address) as channel:
        call = channel.unary_unary(f"/google.firestore.v1.Firestore/{method}")

        with pytest.raises(grpc.RpcError) as refused:
            call(request_bytes)

    assert (refused.value.code(), refused.value.details()) == (code, details)


@pytest.mark.parametrize("streams", [False, True])
async def test_a_call_without_the_bearer_token_does_not_reach_its_handler(serve: Serve, streams: bool) -> None:
    """The token is compared as a whole, and other metadata does not matter."""
    calls = []

    async def respond(request: Any, call: Call) -> m.Document:
        calls.append(request)
        return m.Document(name="done")

    async with serve(respond, streams_responses=streams, token=BearerToken("secret")) as (_, channel):
        for metadata in (
            (),
            (("authorization", "Bearer owner"),),
            (("authorization", "secret"), ("a", "Bearer secret")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _call(channel, streams, metadata)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "DROPZONE_FIRESTORE_TOKEN" in str(refused.value.details())
        assert calls == []

        assert await _call(channel, streams, (("a", "b"), ("authorization", "Bearer secret"))) == b"\n\x04done"


async def _call(channel: grpc.aio.Channel, streams: bool, metadata: tuple[tuple[str, str], ...]) -> bytes:
    if streams:
        responses = [each async for each in channel.unary_stream("/test/Call")(b"", metadata=metadata)]
        return b"".join(responses)
    response: bytes = await channel.unary_unary("/test/Call")(b"", metadata=metadata)
    return response


@pytest.mark.parametrize("serve", [GrpcServer], indirect=True)
async def test_a_cancelled_call_frees_what_its_handler_holds(serve: Serve) -> None:
    """It needs no garbage collection. A handler can hold a page of documents."""
    freed: list[asyncio.Event] = []

    async def wait(request: Any, call: Call) -> None:
        held = {"page"}
        freed.append(asyncio.Event())
        weakref.finalize(held, freed[-1].set)
        await asyncio.Event().wait()

    gc.disable()
    try:
        async with serve(wait) as (_, channel), asyncio.timeout(DEADLINE_SECONDS):
            while not freed:
                with pytest.raises(grpc.aio.AioRpcError):
                    await channel.unary_unary("/test/Call")(b"", timeout=0.2)
            for event in freed:
                await event.wait()
    finally:
        gc.enable()


async def test_a_handler_is_cancelled_when_its_client_leaves(serve: Serve) -> None:
    """A call that exceeds its deadline is cancelled where its handler waits."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, call: Call) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serve(wait) as (_, channel):
        timeout = 0.2
        while not started.is_set():  # a loaded machine may need longer than the deadline to start the handler
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await channel.unary_unary("/test/Call")(b"", timeout=timeout)
            timeout *= 2
        async with asyncio.timeout(DEADLINE_SECONDS):
            await cancelled.wait()

    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_stopping_cancels_calls_after_the_grace_period(serve: Serve) -> None:
    """The handler is cancelled and the client receives an error."""
    cancelled = asyncio.Event()

    async def wait(request: Any, call: Call) -> None:
        await call.write(m.Document(name="started"))
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serve(wait, streams_responses=True) as (server, channel):
        responses = channel.unary_stream("/test/Call", response_deserializer=m.Document.FromString)(b"")
        started = await responses.read()
        await server.stop(0.1)
        with pytest.raises(grpc.aio.AioRpcError):
            await responses.read()

    assert started.name == "started"
    assert cancelled.is_set()


async def test_messages_arrive_while_the_handler_waits(serve: Serve) -> None:
    """The last of several messages is sent without the next one."""

    async def write_some(request: Any, call: Call) -> None:
        for number in range(3):
            await call.write(m.Document(name=str(number)))
        await asyncio.Event().wait()

    async with serve(write_some, streams_responses=True) as (_, channel), asyncio.timeout(DEADLINE_SECONDS):
        call = channel.unary_stream("/test/Call", response_deserializer=m.Document.FromString)(b"")
        read = [(await call.read()).name for _ in range(3)]
        call.cancel()

    assert read == ["0", "1", "2"]


async def test_a_client_that_does_not_read_suspends_the_handler(serve: Serve) -> None:
    """Responses wait in the handler, not in memory. All arrive in order as the client reads them."""
    written = 0

    async def write_all(request: Any, call: Call) -> None:
        nonlocal written
        for number in range(MESSAGE_COUNT):
            await call.write(m.Document(name=f"{number}/{'x' * 100_000}"))
            written += 1

    async with serve(write_all, streams_responses=True) as (_, channel):
        call = channel.unary_stream("/test/Call", response_deserializer=m.Document.FromString)(b"")
        responses = aiter(call)
        read = [(await anext(responses)).name.split("/")[0]]
        written_after_one_read = written
        async for response in responses:
            read.append(response.name.split("/")[0])

    assert written_after_one_read < MESSAGE_COUNT / 2
    assert read == [str(number) for number in range(MESSAGE_COUNT)]


async def test_requests_arrive_one_by_one_until_the_client_closes_the_stream(serve: Serve) -> None:
    """A handler can respond after the last request, and can return its last message."""

    async def repeat(requests: Any, call: Call) -> Any:
        names = []
        async for request in requests:
            names.append(request.name)
            await call.write(request)
        return m.Document(name="+".join(names))

    async with serve(repeat, streams_requests=True, streams_responses=True) as (_, channel):
        call = channel.stream_stream("/test/Call", m.Document.SerializeToString, m.Document.FromString)
        responses = [response.name async for response in call(iter([m.Document(name="a"), m.Document(name="b")]))]

    assert responses == ["a", "b", "a+b"]


@pytest.mark.parametrize("streams_responses", [False, True])
async def test_a_handler_sets_the_status_of_its_call(serve: Serve, streams_responses: bool) -> None:
    """The client receives the code and the details."""

    async def refuse(request: Any, call: Call) -> None:
        call.end(grpc.StatusCode.ABORTED, "try again")

    async with serve(refuse, streams_responses=streams_responses) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/test/Call")(b"", timeout=DEADLINE_SECONDS)

    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.ABORTED, "try again")


async def test_a_handler_that_raises_ends_its_call(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The client receives UNKNOWN without the reason, and the log has the reason."""

    async def fail(request: Any, call: Call) -> Any:
        raise RuntimeError("a secret")

    async with serve(fail) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/test/Call")(b"", timeout=DEADLINE_SECONDS)

    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.UNKNOWN, "The call failed.")
    assert [record.getMessage() for record in caplog.records] == ["A call failed"]
    assert "a secret" in caplog.text


async def test_a_cancelled_handler_or_an_invalid_response_ends_the_call(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets an error instead of waiting for its deadline."""

    async def fail(request: Any, call: Call) -> Any:
        if request.name == "cancel":
            raise asyncio.CancelledError
        return "not a message"

    async with serve(fail) as (_, channel):
        method = channel.unary_unary("/test/Call", m.Document.SerializeToString)
        calls = [method(m.Document(name=name), timeout=DEADLINE_SECONDS) for name in ("cancel", "respond")]
        failures = [await asyncio.gather(call, return_exceptions=True) for call in calls]
        levels = [record.levelname for record in caplog.records]  # grpc.aio can log errors while it stops

    codes = [failure.code() for (failure,) in failures if isinstance(failure, grpc.aio.AioRpcError)]
    assert codes == [grpc.StatusCode.UNKNOWN] * 2
    assert levels == ["ERROR"], "only the invalid response is a defect"


async def test_stopping_while_calls_arrive_completes(serve: Serve) -> None:
    """A call can arrive at the instant at which the server stops."""

    async def respond(request: Any, call: Call) -> Any:
        return m.Document()

    for _ in range(10):
        async with serve(respond) as (server, channel):
            method = channel.unary_unary("/test/Call")
            responded = asyncio.Event()

            async def call_repeatedly(method: Any = method, responded: asyncio.Event = responded) -> None:
                while True:
                    await method(b"")
                    responded.set()

            callers = [asyncio.create_task(call_repeatedly()) for _ in range(32)]
            await responded.wait()
            async with asyncio.timeout(DEADLINE_SECONDS):
                await server.stop(0)
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
