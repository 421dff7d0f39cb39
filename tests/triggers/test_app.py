"""The application of the function, without a server."""

from typing import Any

from starlette.types import Message, Receive, Scope, Send

from triggers.app import EventEndpoint, SharedSecret


async def framework(scope: Scope, receive: Receive, send: Send) -> None:
    """Complete the start and the shutdown, as functions-framework does."""
    for phase in ("startup", "shutdown"):
        assert (await receive())["type"] == f"{scope['type']}.{phase}"
        await send({"type": f"lifespan.{phase}.complete"})


async def check_firestore() -> None:
    """Firestore responds."""


async def test_the_application_ends_without_an_error() -> None:
    """uvicorn logs an error of the lifespan below the level of the log."""
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[Message] = []

    async def receive() -> Any:
        return next(received)

    async def send(message: Message) -> None:
        sent.append(message)

    secret = SharedSecret("s" * 40)
    endpoint = EventEndpoint(framework, {}, secret, hosts_are_local=True, check_firestore=check_firestore)
    await endpoint({"type": "lifespan"}, receive, send)

    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
