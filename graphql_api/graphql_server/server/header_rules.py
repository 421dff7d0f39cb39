"""Rules for the headers of a request that the parser does not enforce.

A proxy and this server must agree on the end of a request and on its host. A request on which they could disagree is
therefore refused (RFC 9112, sections 3.2 and 6.3).
"""

import re
from collections.abc import Callable, Mapping

_HOST = re.compile(rb"[\w.~%!$&'()*+;=:\[\]-]*", re.ASCII)
_UPGRADE = re.compile(rb"(?:^|,)[ \t]*upgrade[ \t]*(?:,|$)", re.IGNORECASE)
HTTP2_TOKEN = b"h2c"
_HANDSHAKE_LISTS = (b"connection", b"sec-websocket-protocol")
_MAX_HANDSHAKE_LIST_BYTES = 1_024
"""The maximum length of a header with a list in the handshake of a WebSocket. `websockets` takes 13 ms to parse a list
of 15,000 items, and uvicorn keeps each subprotocol until the WebSocket ends.
"""

_UPGRADE_TO_HTTP2 = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n)", re.IGNORECASE)


def offers_websocket(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request is the handshake of a WebSocket."""
    is_named = headers.get(b"upgrade", b"").lower() == b"websocket"
    return is_named and _UPGRADE.search(headers.get(b"connection", b"")) is not None


def without_http2(headers: bytes) -> bytes:
    """Return headers without the offer to continue with HTTP/2, which this server does not accept.

    The parser ignores the body of a request with this offer. Java's HttpClient offers HTTP/2 by default.
    """
    return _UPGRADE_TO_HTTP2.sub(b"", headers) if HTTP2_TOKEN in headers else headers


def violation(headers: Mapping[bytes, bytes], http_version: Callable[[], str]) -> str | None:
    """Return the problem of the headers of a request, or None."""
    host = headers.get(b"host")
    if host is None:
        if http_version() != "1.0":
            return "expected the header Host"
    elif not _HOST.fullmatch(host):
        return "expected one header Host with a valid host"
    if b"transfer-encoding" in headers:
        if headers[b"transfer-encoding"].lower() != b"chunked":
            return "expected the header Transfer-Encoding to be chunked; other codings are not supported"
        if b"content-length" in headers:
            return "expected Content-Length or Transfer-Encoding, got both"
        if http_version() == "1.0":
            return "HTTP/1.0 does not have the header Transfer-Encoding"
    if b"upgrade" in headers and _UPGRADE.search(headers.get(b"connection", b"")):  # the parser then expects no body
        if not offers_websocket(headers):
            return "the header Upgrade must be websocket; other protocols are not supported"
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            return "the handshake of a WebSocket must not have a body"
        if any(len(headers.get(name, b"")) > _MAX_HANDSHAKE_LIST_BYTES for name in _HANDSHAKE_LISTS):
            return (
                f"the headers Connection and Sec-WebSocket-Protocol may have up to {_MAX_HANDSHAKE_LIST_BYTES:,} bytes"
            )
    if b"te" in headers and b"chunked" in headers[b"te"].lower():
        return "the header TE must not contain chunked"
    return None
