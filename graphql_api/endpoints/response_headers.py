"""Headers of every response: an ASGI middleware.

A browser must not guess the type of a response, frame it, or give it to a page of another origin. Pages set stricter
values of their own, which are kept.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_HTTPS_HEADERS = (*_HEADERS, (b"strict-transport-security", b"max-age=31536000"))


class ResponseHeaders:
    """Adds security headers, and to a challenge the address of the OAuth2 metadata (RFC 9728), if there is one."""

    def __init__(self, app: ASGIApp, metadata_url: str | None) -> None:
        self._app = app
        self._metadata = None if metadata_url is None else f', resource_metadata="{metadata_url}"'.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        added = _HTTPS_HEADERS if scope["scheme"] in ("https", "wss") else _HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message["headers"] = self._extended(message.get("headers", ()), added)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _extended(
        self, headers: Iterable[tuple[bytes, bytes]], added: Iterable[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        extended = list(headers)
        names = {name for name, _ in extended}
        extended += [header for header in added if header[0] not in names]
        if self._metadata is not None and b"www-authenticate" in names:
            return [
                (name, value + self._metadata if name == b"www-authenticate" else value) for name, value in extended
            ]
        return extended
