"""Metrics of each HTTP request: an ASGI middleware.

Each label has few values. The route is a template such as `/samples/{id}`, and never the path that a client
requested. Unknown paths and methods are counted as `other`.
"""

import time
from collections.abc import Sequence

from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graphql_api import metrics

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_OTHER = "other"
_SWITCHING_PROTOCOLS = 101


class RequestMetrics:
    """Counts responses, measures the time until a response starts, and counts open WebSockets."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        templates = [route for route in routes if isinstance(route, Route | Mount | WebSocketRoute)]
        self._static_paths = {route.path for route in templates if not route.param_convertors}
        self._patterns = [(route.path_regex, route.path_format) for route in templates if route.param_convertors]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started_at = time.perf_counter()
        route = self._route(scope["path"])
        method = scope.get("method", "GET")  # the handshake of a WebSocket is a GET request
        if method not in _METHODS:
            method = _OTHER
        has_websocket = False

        def count(status: int) -> None:
            metrics.http_requests(route, method, status).inc()
            metrics.http_request_duration(route, method).observe(time.perf_counter() - started_at)

        async def send_and_count(message: Message) -> None:
            nonlocal has_websocket
            kind = message["type"]
            if kind == "http.response.start" or kind == "websocket.http.response.start":
                count(message["status"])
            elif kind == "websocket.accept":
                has_websocket = True
                count(_SWITCHING_PROTOCOLS)
                metrics.WEBSOCKETS.inc()
            await send(message)

        try:
            await self._app(scope, receive, send_and_count)
        except Exception:
            count(500)  # the outermost middleware of Starlette sends the response
            raise
        finally:
            if has_websocket:
                metrics.WEBSOCKETS.dec()

    def _route(self, path: str) -> str:
        if path in self._static_paths:
            return path
        for pattern, template in self._patterns:
            if pattern.match(path):
                return template
        return _OTHER
