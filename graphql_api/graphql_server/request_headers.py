"""Request headers: raw values, rules, the credential, the content type, and the accepted media types.

`*/*` and a missing Accept header both mean `application/json`, as the GraphQL-over-HTTP audits require.
Parsed header values are cached, because most clients send the same few values.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from starlette.requests import Request, cookie_parser
from starlette.types import Scope

from storage.documents.errors import BadRequest, Unauthenticated

JSON = b"application/json"
GRAPHQL_RESPONSE = b"application/graphql-response+json"
EVENT_STREAM = b"text/event-stream"
HTML = b"text/html"
_UTF_8 = (b"utf-8", b"utf8")
_BY_NAME = "headers by name"
_HOST = re.compile(rb"[\w.~%!$&'()*+;=:\[\]-]*", re.ASCII)


class Credential(NamedTuple):
    """Who a client claims to be. The key is not validated yet."""

    key: str | None
    """The API key, access token or session, or None if the client sent none."""
    address: str
    """The IP address of the client. Empty if it is not known."""
    is_cookie: bool = False
    """Whether the key is a session, which the browser sent by itself."""
    submitter: str | None = None
    """Another submitter, whose samples and results the request is to read. None for that of the key."""


class Accepted(NamedTuple):
    """The response media types that a client accepts."""

    single: bytes | None
    """The media type of a single response, or None if the client does not accept a single response."""
    stream: bytes | None
    """The media type of a stream of responses, or None if the client does not accept a stream."""
    prefers_stream: bool
    """Whether the server should send even a single response as a stream."""
    prefers_html: bool


class _Range(NamedTuple):
    media_type: bytes
    parameters: frozenset[tuple[bytes, bytes]]
    quality: float


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


def violation(headers: Mapping[bytes, bytes], http_version: Callable[[], str]) -> str | None:
    """Return what is wrong with the headers of a request, or None. The parser does not enforce these rules.

    A proxy and this server must agree on where a request ends and which host it is for. A request on which they could
    disagree is therefore refused (RFC 9112, sections 3.2 and 6.3).
    """
    host = headers.get(b"host")
    if host is None:
        if http_version() != "1.0":
            return "expected the header Host"
    elif not _is_host(host):
        return "expected one header Host with a valid host"
    if b"transfer-encoding" in headers:
        if headers[b"transfer-encoding"].lower() != b"chunked":
            return "expected the header Transfer-Encoding to be chunked; other codings are not supported"
        if b"content-length" in headers:
            return "expected Content-Length or Transfer-Encoding, got both"
        if http_version() == "1.0":
            return "HTTP/1.0 does not have the header Transfer-Encoding"
    if b"te" in headers and b"chunked" in headers[b"te"].lower():
        return "the header TE must not contain chunked"
    return None


def credential(scope: Scope) -> Credential:
    """Return the credential of a request: the value of `x-api-key`, or the token of `Authorization: Bearer`.

    Without them, it is the session in the cookie, if a page of this server sent the request. A request that another
    site makes a browser send therefore has no credential.

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
        session = session_in(scope)
        return Credential(session, address, session is not None, submitter)
    return Credential(key, address, submitter=submitter)


def is_same_origin(scope: Scope) -> bool:
    """Return whether a page of this server sent a request. Only browsers send the headers that say so.

    Over plain HTTP, browsers send `Sec-Fetch-Site` to loopback addresses only. The pages therefore send
    `X-Requested-With`, which no page of another origin can send without a preflight request.
    """
    headers = headers_by_name(scope)
    origin = headers.get(b"origin")
    if origin is not None:
        _, _, host = origin.partition(b"://")
        return bool(host) and host.lower() == headers.get(b"host", b"").lower()
    site = headers.get(b"sec-fetch-site")
    return b"x-requested-with" in headers if site is None else site == b"same-origin"


def session_cookie(scope: Scope) -> str:
    """Return the name of the cookie with the session. It contains the port, because cookies apply to all ports."""
    server = scope.get("server")
    name = f"dropzone_session_{server[1] if server else ''}"
    return f"__Host-{name}" if scope["scheme"] in ("https", "wss") else name


def session_in(scope: Scope) -> str | None:
    """Return the session in the cookies of a request, or None if there is none."""
    cookies = cookie_parser(headers_by_name(scope).get(b"cookie", b"").decode("latin-1"))
    return cookies.get(session_cookie(scope)) or None


def single_key(key: str | None, other: str | None) -> str | None:
    """Return the key of a request in which two places can contain a key. Raises `Unauthenticated` if they differ."""
    if key is None or other is None or key == other:
        return other if key is None else key
    raise Unauthenticated("got two different keys; send one, in the header x-api-key or as Authorization: Bearer")


def single_submitter(submitter: str | None, other: str) -> str:
    """Return the submitter that a request names, possibly in two places. Raises `BadRequest` if they differ."""
    if submitter not in (None, other):
        raise BadRequest("expected the name of one submitter in x-submitter, got two different ones")
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


@lru_cache(maxsize=256)
def accepted(header: bytes) -> Accepted:
    """Return the media types of responses that the value of an Accept header allows."""
    ranges = _ranges(header)
    graphql_response, is_named = _quality(GRAPHQL_RESPONSE, ranges)
    json, _ = _quality(JSON, ranges)
    single = GRAPHQL_RESPONSE if is_named and graphql_response >= json else JSON
    single_quality = max(graphql_response, json)
    stream_quality, stream_is_named = _quality(EVENT_STREAM, ranges)
    html_quality, html_is_named = _quality(HTML, ranges)
    return Accepted(
        single if single_quality else None,
        EVENT_STREAM if stream_quality else None,
        prefers_stream=stream_is_named and stream_quality > single_quality,
        prefers_html=html_is_named and html_quality > 0 and html_quality >= single_quality,
    )


def preferred(header: bytes, offered: Sequence[bytes]) -> bytes | None:
    """Return the `offered` media type with the highest quality in an Accept header, or None if none is accepted.

    If qualities are equal, the media type that comes first in `offered` is returned.
    """
    ranges = _ranges(header)
    best = max(offered, key=lambda media_type: _quality(media_type, ranges)[0])
    return best if _quality(best, ranges)[0] else None


def is_json(content_type: bytes) -> bool:
    """Return whether the value of a Content-Type header is JSON in UTF-8."""
    return utf_8_type(content_type) == JSON


@lru_cache(maxsize=256)
def utf_8_type(content_type: bytes) -> bytes | None:
    """Return the media type of a Content-Type header, or None if its charset is not UTF-8."""
    parsed = _parse(content_type)
    if parsed is None or any(name == b"charset" and value not in _UTF_8 for name, value in parsed.parameters):
        return None
    return parsed.media_type


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


@lru_cache(maxsize=256)
def _ranges(header: bytes) -> Sequence[_Range]:
    return [parsed for part in header.split(b",") if (parsed := _parse(part))] or [_Range(b"*/*", frozenset(), 1)]


def _parse(part: bytes) -> _Range | None:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(b";"))
    if not media_type:
        return None
    pairs = {
        name.strip(): value.strip().strip(b'"')
        for name, separator, value in (parameter.partition(b"=") for parameter in parameters)
        if separator
    }
    try:
        quality = float(pairs.pop(b"q", b"1"))
    except ValueError:
        quality = 0
    return _Range(media_type, frozenset(pairs.items()), quality)


def _quality(media_type: bytes, ranges: Sequence[_Range]) -> tuple[float, bool]:
    """Return the quality of a media type, and whether the header names it without a wildcard."""
    wildcard = media_type.partition(b"/")[0] + b"/*"
    for pattern in (media_type, wildcard, b"*/*"):
        qualities = [each.quality for each in ranges if each.media_type == pattern]
        if qualities:
            return max(qualities), pattern == media_type
    return 0, False
