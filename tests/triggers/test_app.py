"""The application of the function, without a server."""

from typing import Any

import pytest
from cloudevents.abstract import CloudEvent
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from triggers.app import EventEndpoint, Function
from triggers.authentication.event_authenticator import SharedSecret


async def framework(scope: Scope, receive: Receive, send: Send) -> None:
    """Complete the start and the shutdown, as functions-framework does."""
    for phase in ("startup", "shutdown"):
        assert (await receive())["type"] == f"{scope['type']}.{phase}"
        await send({"type": f"lifespan.{phase}.complete"})


async def check_firestore() -> None:
    """Firestore responds."""


async def succeed(event: CloudEvent) -> None:
    """Process the event."""


async def test_the_application_ends_without_an_error() -> None:
    """uvicorn logs an error of the lifespan below the level of the log."""
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[Message] = []

    async def receive() -> Any:
        return next(received)

    async def send(message: Message) -> None:
        sent.append(message)

    secret = SharedSecret("s" * 40)
    endpoint = EventEndpoint(succeed, framework, {}, secret, hosts_are_local=True, check_firestore=check_firestore)
    await endpoint({"type": "lifespan"}, receive, send)

    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_protobuf_event_is_passed_on_with_its_attributes_and_data() -> None:
    """The body may arrive in parts."""
    received = []

    async def function(event: CloudEvent) -> None:
        received.append(event)

    status, _ = await post_event(function)

    (event,) = received
    assert status == 200
    assert event.get_attributes() == {
        "id": "e1",
        "source": "//firestore",
        "type": "written",
        "specversion": "1.0",
        "document": "a/b",
    }
    assert event.get_data() == b"protobuf"


@pytest.mark.parametrize(
    ("error", "expected"),
    [(HTTPException(503, "no Firestore", {"retry-after": "5"}), (503, b"5")), (KeyError("defect"), (500, None))],
    ids=["unavailable", "defect"],
)
async def test_an_event_of_a_function_that_raises_is_sent_again(
    error: Exception, expected: tuple[int, bytes | None], caplog: pytest.LogCaptureFixture
) -> None:
    """Only the traceback of a defect is logged."""

    async def function(_: CloudEvent) -> None:
        raise error

    status, headers = await post_event(function)

    assert (status, headers.get(b"retry-after")) == expected
    assert any(record.name == "triggers" for record in caplog.records) == (status == 500)


async def post_event(function: Function) -> tuple[int, dict[bytes, bytes]]:
    """Post a protobuf event to an endpoint that calls `function`. Return status and headers of the response."""
    parts = iter([b"proto", b"buf"])
    sent: list[Message] = []

    async def receive() -> Any:
        part = next(parts)
        return {"type": "http.request", "body": part, "more_body": part != b"buf"}

    async def send(message: Message) -> None:
        sent.append(message)

    secret = "s" * 40
    endpoint = EventEndpoint(
        function, framework, {}, SharedSecret(secret), hosts_are_local=True, check_firestore=check_firestore
    )
    headers = {
        "host": "127.0.0.1",
        "authorization": f"Bearer {secret}",
        "content-type": "application/protobuf",
        "ce-id": "e1",
        "ce-source": "//firestore",
        "ce-type": "written",
        "ce-specversion": "1.0",
        "ce-document": "a/b",
    }
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await endpoint(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])
