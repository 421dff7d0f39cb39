"""The function as an ASGI application: it accepts events from their sender only, and responds to liveness probes.

Eventarc sends protobuf events in binary mode. This module passes these events to the function directly. It passes all
other events through functions-framework. functions-framework would parse any request, even a request from a web page.
The endpoint in this module therefore checks the token, the media type and the length of a request before it reads the
body. It also refuses requests from browsers. The same checks apply to `/dead-letters`, `/audit` and `/rollups`.

A refusal closes the connection, so that the rest of the body is not read. The response to a probe closes the connection
too, because each probe opens a new one.
"""

import asyncio
import ipaddress
import logging
import re
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import lru_cache, partial
from typing import Any, cast
from urllib.parse import urlsplit

import functions_framework.aio
from cloudevents.abstract import CloudEvent
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observability import logs, tracing
from observability.metrics import CONTENT_TYPE, exposition
from observability.throttled_log import ThrottledLog
from runtime.memory_release import release_memory
from runtime.shared_tasks import SharedTasks
from storage.documents import Unavailable
from storage.firestore.environment import selected_firestore
from storage.firestore.errors import text_for_log
from triggers import main, sample_event
from triggers.audit.endpoint import AuditEndpoint
from triggers.authentication.event_authenticator import EventAuthenticator, SharedSecret
from triggers.rollups.endpoint import RollupsEndpoint
from triggers.settings import Settings

MAX_EVENT_BYTES = 2**20
"""Enough for each event: it contains a header before and after the write, with up to 240 KiB of raw document each.
Eventarc drops events over 512 KB.
"""

BINARY_TYPES = frozenset({sample_event.PROTOBUF, b"application/json"})
STRUCTURED_TYPE = b"application/cloudevents+json"
EVENT_PATH = "/"
EVENTS_PREFIX = "/events/"
"""The prefix of a path that contains the token of an event. It is for a sender that cannot send a header."""
DEAD_LETTER_PATH = "/dead-letters"
AUDIT_PATH = "/audit"
ROLLUPS_PATH = "/rollups"
HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"
METRICS_PATH = "/metrics"
RESULT_SECONDS = 0.25
"""How long requests share the metrics, or a check of Firestore. Each takes milliseconds that events need."""

Handler = Callable[[bytes], Awaitable[dict[str, object] | None]]
"""Processes the body of a request, and returns a JSON object for the response or None. Raises `HTTPException`."""

Function = Callable[[CloudEvent], Awaitable[None]]
"""Processes an event. Raises `HTTPException` if the event must be sent again."""

_NONCE = re.compile(r"[A-Za-z0-9_-]{1,128}")
_OK = Response("OK")

logger = logging.getLogger("triggers")


def create_app() -> ASGIApp:
    """Return the application of the function. If the settings are incomplete, exit with a message."""
    try:
        settings = Settings.from_environ()
        logs.configure(settings.log_format)
        tracing.configure("dropzone-function")
        selected_firestore()
    except ValueError as error:
        sys.exit(f"error: {error}")
    authenticator: EventAuthenticator
    if settings.event_secret:
        authenticator, hosts_are_local = SharedSecret(settings.event_secret), settings.is_local
    else:
        # This import takes a fifth of the start, and only Google Cloud needs it.
        from triggers.authentication.google_identity import GoogleIdentity

        authenticator = GoogleIdentity(settings.event_audiences, settings.event_service_account)
        hosts_are_local = False
    create: Any = functions_framework.aio.create_asgi_app_from_module  # the library has no type hints
    framework: ASGIApp = create(main.on_sample_written.__name__, main.__file__, None, main, None)
    audit = AuditEndpoint(shards=settings.shards, delay_seconds=settings.audit_delay_seconds)
    handlers: dict[str, Handler] = {
        DEAD_LETTER_PATH: main.on_dead_letter,
        AUDIT_PATH: audit.run,
        ROLLUPS_PATH: RollupsEndpoint(shards=settings.shards).run,
    }
    return EventEndpoint(
        cast(Function, main.on_sample_written),  # the decorator narrows the type to the library's events
        framework,
        handlers,
        authenticator,
        hosts_are_local=hosts_are_local,
        check_firestore=main.check_firestore,
    )


class EventEndpoint:
    """Passes authentic events to the function, and other authentic requests to the handler of their path.

    Refuses all other requests. `app` parses events that are not protobuf in binary mode, and calls the function.
    If `hosts_are_local` is true, requests must name this machine as their host. This excludes web pages whose DNS name
    resolves to this machine: they have another host. `check_firestore` raises `Unavailable` if the function cannot read
    from Firestore.
    """

    def __init__(
        self,
        function: Function,
        app: ASGIApp,
        handlers: Mapping[str, Handler],
        authenticator: EventAuthenticator,
        *,
        hosts_are_local: bool,
        check_firestore: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._function = function
        self._app = app
        self._handlers = handlers
        self._authenticator = authenticator
        self._hosts_are_local = hosts_are_local
        self._check_firestore = check_firestore
        self._metrics = SharedTasks[None, bytes](shared_seconds=RESULT_SECONDS)
        self._firestore_checks = SharedTasks[None, None](shared_seconds=RESULT_SECONDS)
        self._log, self._readiness_log = ThrottledLog(logger), ThrottledLog(logger)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            releasing = asyncio.create_task(release_memory())
            try:
                await self._app(scope, receive, send)
            finally:
                releasing.cancel()
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith(EVENTS_PREFIX):
            scope = _with_token_of_path(scope)
        if scope["path"] == HEALTH_PATH:
            await self._health(scope)(scope, receive, send)
        elif scope["path"] == READY_PATH:
            await (await self._readiness(scope))(scope, receive, send)
        elif scope["path"] == METRICS_PATH and scope["method"] == "GET":
            text = await self._metrics.run(None, partial(asyncio.to_thread, exposition))
            await Response(text, media_type=CONTENT_TYPE, headers={"connection": "close"})(scope, receive, send)
        elif refusal := await self._refusal(scope):
            self._log.warning("refused a request with %d: %s", refusal.status_code, bytes(refusal.body).decode())
            await refusal(scope, receive, send)
        elif scope["path"] == EVENT_PATH:
            headers, limited = dict(scope["headers"]), _limited(receive)
            is_protobuf = sample_event.is_protobuf_event(headers)
            app = await self._process(headers, Request(scope, limited)) if is_protobuf else self._app
            await app(scope, limited, send)
        else:
            response = await self._handle(Request(scope, _limited(receive)))
            await response(scope, receive, send)

    async def _process(self, headers: Mapping[bytes, bytes], request: Request) -> Response:
        """Call the function and return the response. As in functions-framework, log tracebacks of unexpected errors."""
        try:
            await self._function(sample_event.BinaryEvent(headers, await request.body()))
        except HTTPException as error:
            return PlainTextResponse(error.detail, error.status_code, error.headers)
        except Exception:
            logger.exception("the function failed to process an event")
            return PlainTextResponse("Internal Server Error", 500)
        return _OK

    async def _handle(self, request: Request) -> Response:
        """Return the response to a request that is not an event."""
        try:
            values = await self._handlers[request.url.path](await request.body())
        except HTTPException as error:
            self._log.warning("responded %d: %s", error.status_code, error.detail)
            return PlainTextResponse(error.detail, error.status_code, error.headers)
        return Response(status_code=204) if values is None else JSONResponse(values)

    def _health(self, scope: Scope) -> Response:
        """Return the response to a liveness probe. It comes from the event loop that computes samples."""
        if scope["method"] not in ("GET", "HEAD"):
            return _refuse(405, "expected the method GET", allow="GET, HEAD")
        body = {"status": "ok"}
        nonce = dict(scope["headers"]).get(b"x-nonce", b"").decode("latin-1")
        if _NONCE.fullmatch(nonce) and (proof := self._authenticator.proof(nonce)):
            body["proof"] = proof
        return JSONResponse(body, headers={"cache-control": "no-store", "connection": "close"})

    async def _readiness(self, scope: Scope) -> Response:
        """Return the response to a startup probe: 503 until Firestore responds."""
        if scope["method"] not in ("GET", "HEAD"):
            return _refuse(405, "expected the method GET", allow="GET, HEAD")
        try:
            await self._firestore_checks.run(None, self._check_firestore)
        except Unavailable as error:
            self._readiness_log.warning("the function is not ready: %s", text_for_log(error))
            return _refuse(503, str(error), retry_after="1")
        return JSONResponse({"status": "ready"}, headers={"cache-control": "no-store", "connection": "close"})

    async def _refusal(self, scope: Scope) -> Response | None:
        """Return the response to a request that must be refused, or None for an authentic event."""
        paths = (EVENT_PATH, *self._handlers)
        if scope["path"] not in paths:
            return _refuse(
                404, f"expected one of the paths {', '.join((*paths, HEALTH_PATH, READY_PATH, METRICS_PATH))}"
            )
        if scope["method"] != "POST":
            return _refuse(405, "expected the method POST", allow="POST")
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if b"origin" in headers or b"sec-fetch-site" in headers or b"sec-fetch-mode" in headers:
            return _refuse(403, "events of web pages are not accepted")
        if self._hosts_are_local and not _is_local(headers.get(b"host", b"")):
            return _refuse(403, "expected this machine as the host")
        credentials = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = credentials[0].partition(b" ") if len(credentials) == 1 else (b"", b"", b"")
        try:
            if scheme.lower() != b"bearer" or not await self._authenticator.accepts(token):
                return _refuse(401, "expected the bearer token of the sender", www_authenticate="Bearer")
        except Unavailable as error:
            return _refuse(503, str(error), retry_after=str(error.retry_after))
        if scope["path"] == EVENT_PATH and not _is_event(headers):
            return _refuse(415, "expected a CloudEvent in binary mode, or application/cloudevents+json")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 10 or int(length) > MAX_EVENT_BYTES:
            return _refuse(413, f"expected a body of at most {MAX_EVENT_BYTES} bytes")
        return None


def _is_event(headers: Mapping[bytes, bytes]) -> bool:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return media_type == STRUCTURED_TYPE or (media_type in BINARY_TYPES and b"ce-id" in headers)


def _with_token_of_path(scope: Scope) -> Scope:
    """Return the scope of a request to `/events/TOKEN` as if the token were in the header `Authorization`."""
    token = scope["path"].removeprefix(EVENTS_PREFIX).encode()
    headers = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
    headers.append((b"authorization", b"Bearer " + token))
    return {**scope, "path": EVENT_PATH, "raw_path": EVENT_PATH.encode(), "headers": headers}


def _refuse(status: int, reason: str, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return PlainTextResponse(reason, status, {"connection": "close"} | named)


@lru_cache(maxsize=16)
def _is_local(host: bytes) -> bool:
    """Return whether the header `Host` names this machine by a loopback address or as `localhost`."""
    try:
        name = urlsplit(f"//{host.decode('ascii')}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _limited(receive: Receive) -> Receive:
    """Return `receive` with a limit on the length of the body. The header `content-length` may be missing."""
    received = 0

    async def limited() -> Any:
        nonlocal received
        message: Message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_EVENT_BYTES:
            raise HTTPException(413, f"expected a body of at most {MAX_EVENT_BYTES} bytes")
        return message

    return limited
