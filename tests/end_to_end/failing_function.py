"""The function, except that it fails for every event of one submitter."""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from triggers import app

UNLUCKY = "unlucky"


def create_app() -> ASGIApp:
    """Return the application."""
    function = app.create_app()

    async def fail_or_pass(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if UNLUCKY.encode() in headers.get(b"ce-document", b"") and b"ce-givenup" not in headers:
            await PlainTextResponse("this function always fails", 500)(scope, receive, send)
        else:
            await function(scope, receive, send)

    return fail_or_pass
