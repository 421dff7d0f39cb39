"""The headers of an HTTP request: their values, the rules that they must follow, and the credential in them.

A proxy and this server must agree on the end of a request and on its host. The server therefore refuses a request on
which they could disagree (RFC 9112, sections 3.2 and 6.3). The parser does not enforce these rules.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.types import Scope

from storage.documents.errors import BadRequest, Unauthenticated

_BY_NAME = "headers by name"
_HOST = re.compile(rb"[\w.~%!$&'()*+;=:\[\]-]*", re.ASCII)
_UPGRADE = re.compile(rb"(?:^|,)[ \t]*upgrade[ \t]*(?:,|$)", re.IGNORECASE)
HTTP2_TOKEN = b"h2c"
TLS_TOKEN = b"TLS/1."
_KEY = re.compile(rb"\r\n(?:x-api-key:|authorization:[ \t]*bearer[ \t])[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE)
"""A key contains no spaces. The pattern then takes time in proportion to the text, which anyone can send."""

_PATH = re.compile(rb"[A-Z]+ (/[\w/]*)[ ?]", re.ASCII)
_HANDSHAKE_LISTS = (b"connection", b"sec-websocket-protocol")
_MAX_HANDSHAKE_LIST_BYTES = 1_024
"""The maximum length of a header with a list in the handshake of a WebSocket. `websockets` takes 13 ms to parse a list
of 15,000 items, and uvicorn keeps each subprotocol until the WebSocket ends.
"""

_OPTIONAL_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*(?:h2c|TLS/1\.\d)[ \t]*(?=\r\n)", re.IGNORECASE)


class Credential(NamedTuple):
    """The credential that a client sent. The key is not validated yet."""

    key: str | None
    """The API key, access token or session, or None if the client sent none."""
    address: str
    """The IP address of the client. Empty if it is not known."""
    is_cookie: bool = False
    """Whether the key is a session, which the browser sent by itself."""
    submitter: str | None = None
    """The submitter whose documents the request reads. None for the submitter of the key."""
    is_check: bool = False
    """Whether an open stream checks the credential again. This is not a request, so no limit of requests applies."""


def header(request: Request, name: bytes) -> bytes:
    """Return the value of a header, or `b""` if it is missing. The values of a repeated header are joined by commas."""
    return headers_by_name(request.scope).get(name, b"")


def headers_by_name(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the headers of a request by name. The values of a repeated header are joined by commas."""
    by_name: dict[bytes, bytes] | None = scope.get(_BY_NAME)
    if by_name is None:
        scope[_BY_NAME] = by_name = dict(scope["headers"])
        if len(by_name) < len(scope["headers"]):
            by_name.clear()
            for key, value in scope["headers"]:
                by_name[key] = b"%b,%b" % (by_name[key], value) if key in by_name else value
    return by_name


def credential(scope: Scope) -> Credential:
    """Return the credential of a request: the value of `x-api-key`, or the token of `Authorization: Bearer`.

    Without these headers, the credential is the session in the cookie, but only if a page of this server sent the
    request. If another site makes a browser send a request, the request therefore has no credential.

    Raises `Unauthenticated` if the headers contain two different keys, and `BadRequest` for two submitters.
    """
    key = submitter = None
    has_cookie = False
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            key = single_key(key, value.decode("latin-1"))
        elif name == b"authorization":
            key = single_key(key, bearer_token(value.decode("latin-1")))
        elif name == b"x-submitter":
            submitter = single_submitter(submitter, value.decode("latin-1"))
        elif name == b"cookie":
            has_cookie = True
    client = scope.get("client")
    address = client[0] if client else ""
    if key is None and has_cookie and is_same_origin(scope):
        session = cookie(scope, session_cookie(scope)) or None
        return Credential(session, address, session is not None, submitter)
    return Credential(key, address, submitter=submitter)


def key_in(head: bytes) -> str | None:
    """Return the key in the start of a request that is not parsed yet, or None if it contains no key."""
    found = _KEY.search(head)
    return None if found is None else found[1].decode("latin-1")


def path_in(head: bytes) -> str:
    """Return the path in the start of a request that is not parsed yet. Empty if it is incomplete or unusual."""
    found = _PATH.match(head)
    return "" if found is None else found[1].decode()


def is_same_origin(scope: Scope) -> bool:
    """Return whether a page of this server sent a request. Browsers send headers that say so.

    Over plain HTTP, browsers send `Sec-Fetch-Site` to loopback addresses only. The pages therefore send
    `X-Requested-With`, which no page of another origin can send without a preflight request.
    """
    headers = headers_by_name(scope)
    origin = headers.get(b"origin")
    if origin is not None:
        scheme, _, host = origin.lower().partition(b"://")
        if scheme == b"http" and is_encrypted(scope):  # someone on the network can have made the page
            return False
        return bool(host) and host == headers.get(b"host", b"").lower()
    site = headers.get(b"sec-fetch-site")
    return b"x-requested-with" in headers if site is None else site == b"same-origin"


def session_cookie(scope: Scope) -> str:
    """Return the name of the cookie with the session. It contains the port, because cookies apply to all ports."""
    server = scope.get("server")
    name = f"dropzone_session_{server[1] if server else ''}"
    return f"__Host-{name}" if is_encrypted(scope) else name


def is_encrypted(scope: Scope) -> bool:
    """Return whether the client has sent a request over TLS, to this server or to a trusted proxy."""
    return scope["scheme"] in ("https", "wss")


def cookie(scope: Scope, name: str) -> str:
    """Return the value of a cookie of this server, or an empty text if it is missing.

    The cookies of this server need no quotes. `http.cookies` removes quotes, and in some versions of Python, this takes
    a second for a header of 30 KB (CVE-2024-7592).
    """
    pattern = rb"(?:^|;)[ \t]*%b=([^;]*)" % re.escape(name.encode())
    found = re.search(pattern, headers_by_name(scope).get(b"cookie", b""))
    return "" if found is None else found[1].strip().decode("latin-1")


def single_key(key: str | None, other: str | None) -> str | None:
    """Return the key of a request that can contain two keys. Raises `Unauthenticated` if the two keys differ."""
    if key is None or other is None or key == other:
        return other if key is None else key
    raise Unauthenticated("got two different keys; send one, in the header x-api-key or as Authorization: Bearer")


def single_submitter(submitter: str | None, other: str) -> str:
    """Return the submitter of a request that can name two submitters. Raises `BadRequest` if the two names differ."""
    if submitter not in (None, other):
        raise BadRequest("expected the name of one submitter in x-submitter, got two different names")
    return other


def utf_8_text(request: Request, name: str) -> str | None:
    """Return the value of a header that holds text in UTF-8, or None if it is missing.

    Raises `BadRequest` if the text is not UTF-8, or if the header is repeated with another value.
    """
    values = {value for key, value in request.headers.raw if key == name.lower().encode()}
    if len(values) > 1:
        raise BadRequest(f"expected one header {name}, got {len(values)} with different values")
    try:
        return values.pop().decode() if values else None
    except UnicodeDecodeError:
        raise BadRequest(f"expected text in UTF-8 in the header {name}") from None


def bearer_token(authorization: str) -> str | None:
    """Return the token in the value of an Authorization header, or None if its scheme is not Bearer."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def offers_websocket(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request is the handshake of a WebSocket."""
    is_named = headers.get(b"upgrade", b"").lower() == b"websocket"
    return is_named and _UPGRADE.search(headers.get(b"connection", b"")) is not None


def without_optional_upgrade(headers: bytes) -> bytes:
    """Return headers without the offer to continue with HTTP/2 or TLS, which this server does not accept.

    The parser ignores the body of a request with this offer. By default, Java's HttpClient offers HTTP/2, and Apache
    HttpClient 5.4 offers TLS.
    """
    return _OPTIONAL_UPGRADE.sub(b"", headers) if HTTP2_TOKEN in headers or TLS_TOKEN in headers else headers


def violation(headers: Mapping[bytes, bytes], http_version: Callable[[], str], *, has_no_body: bool) -> str | None:
    """Return the problem of the headers of a request, or None.

    `has_no_body` is true if the parser reads the data after the headers as another protocol or as the next request.
    This applies to an upgrade, which `Proxy-Connection` can also request, and to the method CONNECT.
    """
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
    if has_no_body:
        if not offers_websocket(headers):
            return "the method CONNECT and upgrades to other protocols than websocket are not supported"
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            return "the handshake of a WebSocket must not have a body"
        if any(len(headers.get(name, b"")) > _MAX_HANDSHAKE_LIST_BYTES for name in _HANDSHAKE_LISTS):
            limit = f"{_MAX_HANDSHAKE_LIST_BYTES:,} bytes"
            return f"expected at most {limit} in the headers Connection and Sec-WebSocket-Protocol"
    if b"te" in headers and b"chunked" in headers[b"te"].lower():
        return "the header TE must not contain chunked"
    return None


def contains_tag(known_tags: str, tag: str) -> bool:
    """Return whether the value of `If-Match` or `If-None-Match` contains an entity tag, including its quotes.

    A list can have thousands of tags. It is not split, because this takes a millisecond of the event loop.
    """
    return known_tags.strip() == "*" or tag in known_tags
