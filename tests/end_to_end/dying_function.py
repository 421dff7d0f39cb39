"""The function, except that its process dies at the first event of a stack, before the function sees the event."""

import os
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from triggers import app


def create_app() -> ASGIApp:
    """Return the application."""
    function = app.create_app()
    died = Path(os.environ["DROPZONE_DATA_DIR"]) / "function-died"

    async def die_or_pass(scope: Scope, receive: Receive, send: Send) -> None:
        if b"ce-document" in dict(scope.get("headers", ())) and not died.exists():
            died.touch()
            os._exit(1)
        await function(scope, receive, send)

    return die_or_pass
