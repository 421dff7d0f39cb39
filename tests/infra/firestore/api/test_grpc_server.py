"""Calls over gRPC, whatever the service: failures, clients that leave, clients that read slowly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.grpc_server import GrpcServer
from infra.embedded.firestore.api.rpc import Call, Handler, RpcMethod
from tests.infra.firestore.server_process import FirestoreProcess


@asynccontextmanager
async def serving(
    handler: Handler, *, streams_requests: bool = False
) -> AsyncIterator[tuple[GrpcServer, grpc.aio.Channel]]:
    """Answer `/test/Call` by `run`, which takes documents and answers with documents."""
    server = GrpcServer({"/test/Call": RpcMethod(handler, m.Document, streams_requests)}, ())
    port = server.listen("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield server, channel
    finally:
        await server.stop(0)


@pytest.mark.parametrize(
    ("method", "request_bytes", "code", "details"),
    [
        ("Unheard", b"", grpc.StatusCode.UNIMPLEMENTED, "Method not found!"),
        ("Commit", b"\xff\xff", grpc.StatusCode.INTERNAL, "Exception deserializing request!"),
    ],
)
def test_what_is_no_call_is_refused(
    firestore: FirestoreProcess, method: str, request_bytes: bytes, code: grpc.StatusCode, details: str
) -> None:
    """Neither a method that is unknown nor bytes that are no request end anything but their own call."""
    with grpc.insecure_channel(firestore.address) as channel:
        call = channel.unary_unary(f"/google.firestore.v1.Firestore/{method}")

        with pytest.raises(grpc.RpcError) as refused:
            call(request_bytes)

    assert (refused.value.code(), refused.value.details()) == (code, details)


async def test_a_handler_hears_that_its_client_has_left() -> None:
    """A call whose time is up is cancelled where it waits."""
    cancelled = asyncio.Event()

    async def wait(request: Any, call: Call) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(wait) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await channel.unary_unary("/test/Call")(b"", timeout=0.2)
        async with asyncio.timeout(10):
            await cancelled.wait()

    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_stopping_waits_for_calls_but_not_for_ever() -> None:
    """What takes longer than the grace is cancelled, and its client told so."""
    cancelled = asyncio.Event()

    async def wait(request: Any, call: Call) -> None:
        await call.write(m.Document(name="begun"))
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serving(wait) as (server, channel):
        answers = channel.unary_stream("/test/Call", response_deserializer=m.Document.FromString)(b"")
        begun = await answers.read()
        await server.stop(0.1)
        with pytest.raises(grpc.aio.AioRpcError):
            await answers.read()

    assert begun.name == "begun"
    assert cancelled.is_set()


async def test_a_client_that_does_not_read_holds_up_its_handler() -> None:
    """Answers wait in the handler, not in memory; they all come, in their order, as they are read."""
    written = 0

    async def tell(request: Any, call: Call) -> None:
        nonlocal written
        for number in range(400):
            await call.write(m.Document(name=f"{number}/{'x' * 100_000}"))
            written += 1

    async with serving(tell) as (_, channel):
        call = channel.unary_stream("/test/Call", response_deserializer=m.Document.FromString)(b"")
        answers = aiter(call)
        read = [(await anext(answers)).name.split("/")[0]]
        written_for_one = written
        async for answer in answers:
            read.append(answer.name.split("/")[0])

    assert written_for_one < 200
    assert read == [str(number) for number in range(400)]


async def test_requests_come_one_by_one_until_the_client_is_done() -> None:
    """A streamed call may be answered after its last request, and with a last message of its own."""

    async def repeat(requests: Any, call: Call) -> Any:
        names = []
        async for request in requests:
            names.append(request.name)
            await call.write(request)
        return m.Document(name="+".join(names))

    async with serving(repeat, streams_requests=True) as (_, channel):
        call = channel.stream_stream("/test/Call", m.Document.SerializeToString, m.Document.FromString)
        answers = [answer.name async for answer in call(iter([m.Document(name="a"), m.Document(name="b")]))]

    assert answers == ["a", "b", "a+b"]


async def test_a_handler_that_fails_ends_its_call(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it fails with, also in what it answers: nobody waits for ever, and the log says why."""

    async def fail(request: Any, call: Call) -> Any:
        if request.name == "raise":
            raise RuntimeError("a secret")
        if request.name == "cancel":
            raise asyncio.CancelledError
        return "no message"

    async with serving(fail) as (_, channel):
        ask = channel.unary_unary("/test/Call", m.Document.SerializeToString)
        calls = [ask(m.Document(name=name), timeout=10) for name in ("raise", "cancel", "answer")]
        failures = [await asyncio.gather(call, return_exceptions=True) for call in calls]

    codes = [failure.code() for (failure,) in failures if isinstance(failure, grpc.aio.AioRpcError)]
    assert codes == [grpc.StatusCode.UNKNOWN] * 3
    assert [record.getMessage() for record in caplog.records] == ["A call failed"] * 2


async def test_stopping_in_the_middle_of_calls_comes_to_an_end() -> None:
    """Also where a call arrives while the server is being stopped."""

    async def answer(request: Any, call: Call) -> Any:
        return m.Document()

    for _ in range(10):
        async with serving(answer) as (server, channel):
            ask = channel.unary_unary("/test/Call")
            answered = asyncio.Event()

            async def call_for_ever(ask: Any = ask, answered: asyncio.Event = answered) -> None:
                while True:
                    await ask(b"")
                    answered.set()

            callers = [asyncio.create_task(call_for_ever()) for _ in range(32)]
            await answered.wait()
            async with asyncio.timeout(20):
                await server.stop(0)
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
