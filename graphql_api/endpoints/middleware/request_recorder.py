"""The middleware of all requests: gives each request an id, lets it start in its turn, and records its response.

It writes the access log and the metrics, and adds headers to the response.
"""

import time
from collections.abc import Iterable, Sequence
from functools import partial

from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as ASGIScope

from graphql_api import metrics
from graphql_api.budgets.allowance import allowance_of
from graphql_api.endpoints.endpoint import Services
from graphql_api.endpoints.middleware.cross_origin import AllowOrigins
from graphql_api.endpoints.middleware.exception_handlers import ErrorResponder
from graphql_api.graphql_server.requests import request_headers
from graphql_api.graphql_server.tcp_state import is_disconnected
from observability import request_context, tracing
from observability.logs import AccessLog
from observability.request_context import RequestContext
from storage.documents import DropzoneError, Unavailable

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_OTHER = "other"
_SWITCHING_PROTOCOLS = 101
_SERVER_ERROR = 500
_SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_HTTPS_HEADERS = (*_SECURITY_HEADERS, (b"strict-transport-security", b"max-age=31536000"))

PROBE_ROUTES = frozenset({"/healthz", "/metrics", "/readyz"})
"""The routes of health checks and metrics. Their requests are not logged, and have turns of their own."""


class RequestRecorder:
    """An ASGI middleware that encloses all others, so it also records the responses to errors.

    Each label of the metrics has few values. The route is a template such as `/samples/{id}`, and never the path that a
    client requested. Unknown paths and methods are recorded as `other`.

    The id is in the response header `x-request-id`, in errors and in the log. Requests of probes and of `/metrics` are
    not logged, because programs send them every few seconds.

    A browser must not guess the type of a response, show it in a frame, or give it to a page of another origin. The
    middleware adds headers that forbid this, and keeps the stricter headers of pages.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[BaseRoute],
        services: Services,
        errors: ErrorResponder,
        allow: AllowOrigins,
    ) -> None:
        """Record the responses of `app`. With `allow`, pages of other origins can read them, and refusals too."""
        self._app = allow(app)
        self._allow = allow
        self._services = services
        self._errors = errors
        self._access_log = AccessLog()
        templates = [route for route in routes if isinstance(route, Route | Mount | WebSocketRoute)]
        self._static_paths = {route.path for route in templates if not route.param_convertors}
        self._patterns = [(route.path_regex, route.path_format) for route in templates if route.param_convertors]

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._route(scope["path"]))
        request_context.enter(exchange.context)
        span = None
        if tracing.is_on and exchange.route not in PROBE_ROUTES:
            name = f"{exchange.method} {exchange.route}"
            span = tracing.start(name, "SERVER", parent=exchange.context.traceparent)
            tracing.continue_request(exchange.context, span)
        try:
            await self._handle(exchange, scope)
        except Exception:
            if exchange.status != _SERVER_ERROR:  # a response has started, or none could be sent
                exchange.count(_SERVER_ERROR)
            raise
        finally:
            exchange.end()
            if span is not None:
                status = exchange.status
                attributes = {"http.request.method": exchange.method, "http.route": exchange.route}
                problem = f"HTTP {status}" if status >= _SERVER_ERROR else None
                tracing.end(span, problem, **attributes, **{"http.response.status_code": status})
            if exchange.status and exchange.route not in PROBE_ROUTES:
                self._log(exchange)

    async def _handle(self, exchange: "_Exchange", scope: ASGIScope) -> None:
        """Wait for a turn to start, then call the application. Respond to a request that gets no turn.

        Do nothing if the client disconnects while the request waits.
        """
        app: ASGIApp = self._app
        try:
            sender = partial(self._sender, scope, exchange.route)
            if not await self._services.budgets.request_turns.start(sender, partial(is_disconnected, scope)):
                return
        except Unavailable as error:
            app = self._allow(self._errors.response(error))
        await app(scope, exchange.receive, exchange.send)

    def _log(self, exchange: "_Exchange") -> None:
        self._access_log.write(
            method=exchange.method,
            route=exchange.route,
            status=exchange.status,
            seconds=exchange.seconds,
            request_bytes=exchange.received_bytes,
            response_bytes=exchange.sent_bytes,
            address=exchange.address,
        )

    def _sender(self, scope: ASGIScope, route: str) -> str:
        """Return the submitter of a request, as far as it is known (see `known_submitter`).

        Health checks do not wait for other requests without a key. A name of a submitter contains no slash.
        """
        if route in PROBE_ROUTES:
            return route
        try:
            return self._services.authenticator.known_submitter(request_headers.credential(scope).key)
        except DropzoneError:
            return ""

    def _route(self, path: str) -> str:
        if path in self._static_paths:
            return path
        for pattern, template in self._patterns:
            if pattern.match(path):
                return template
        return _OTHER


class _Exchange:
    """One request with its response: counts both, and adds headers to the response."""

    __slots__ = (
        "_has_websocket",
        "_receive",
        "_scope",
        "_send",
        "_started_at",
        "context",
        "method",
        "received_bytes",
        "route",
        "sent_bytes",
        "status",
    )

    def __init__(self, scope: ASGIScope, receive: Receive, send: Send, route: str) -> None:
        self._started_at = time.perf_counter()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._has_websocket = False
        method = scope.get("method", "GET")  # the handshake of a WebSocket is a GET request
        self.method = method if method in _METHODS else _OTHER
        self.route = route
        headers = request_headers.headers_by_name(scope)
        self.context = RequestContext(headers.get(b"x-request-id", b""), headers.get(b"traceparent", b""))
        self.status = self.received_bytes = self.sent_bytes = 0
        """`status` is 0 until the response starts."""

    @property
    def seconds(self) -> float:
        """The time since the request arrived."""
        return time.perf_counter() - self._started_at

    @property
    def address(self) -> str:
        """The address of the client. Empty if it is not known."""
        client = self._scope.get("client")
        return client[0] if client else ""

    def count(self, status: int) -> None:
        """Count the response in the metrics, when it starts."""
        self.status = status
        metrics.http_requests(self.route, self.method, status).inc()
        metrics.http_request_duration(self.route, self.method).observe(self.seconds)

    def end(self) -> None:
        """Note that the request has ended."""
        if self._has_websocket:
            metrics.WEBSOCKETS.dec()

    async def receive(self) -> Message:
        """Receive a message from the client, and count its bytes."""
        message = await self._receive()
        self.received_bytes += len(message.get("body") or message.get("text") or message.get("bytes") or b"")
        return message

    async def send(self, message: Message) -> None:
        """Send a message to the client, and count its bytes. Add headers to the first message."""
        kind = message["type"]
        if kind == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
        elif kind == "http.response.start" or kind == "websocket.http.response.start":
            self.count(message["status"])
            is_https = self._scope["scheme"] in ("https", "wss")
            request_id = b"x-request-id", self.context.request_id.encode()
            message["headers"] = [*_extended(message.get("headers", ()), is_https), request_id]
            if (allowance := allowance_of(self._scope)) is not None:
                message["headers"] += allowance.headers
        elif kind == "websocket.accept":
            self._has_websocket = True
            self.count(_SWITCHING_PROTOCOLS)
            metrics.WEBSOCKETS.inc()
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.context.request_id.encode())]
        elif kind == "websocket.send":
            self.sent_bytes += len(message.get("text") or message.get("bytes") or b"")
        await self._send(message)


def _extended(headers: Iterable[tuple[bytes, bytes]], is_https: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response, and add the security headers that are missing."""
    extended = list(headers)
    names = {name for name, _ in extended}
    added = _HTTPS_HEADERS if is_https else _SECURITY_HEADERS
    return extended + [header for header in added if header[0] not in names]
