"""The function, with faults for the events of one submitter.

A fault lasts while a file of its name exists in the folder that the variable `ALERTS_FAULTS` names.
"""

import os
from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from triggers import app

FAULTS = "ALERTS_FAULTS"
CRASH, FORGET = "crash", "forget"
UNLUCKY = "unlucky"


def create_app() -> ASGIApp:
    """Return the application."""
    function, faults = app.create_app(), Path(os.environ[FAULTS])

    async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        is_unlucky = UNLUCKY.encode() in headers.get(b"ce-document", b"") and b"ce-givenup" not in headers
        if is_unlucky and (faults / CRASH).exists():
            os._exit(1)
        if is_unlucky and (faults / FORGET).exists():
            await PlainTextResponse("acknowledged without a result")(scope, receive, send)
        else:
            await function(scope, receive, send)

    return faulty
