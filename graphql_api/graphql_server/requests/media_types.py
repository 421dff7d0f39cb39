"""Media types: the content type of a request, and the types that a client accepts.

`*/*` and a missing Accept header both mean `application/json`, as the GraphQL-over-HTTP audits require.
Parsed header values are cached, because most clients send the same few values. Longer values are refused.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from storage.documents.errors import BadRequest

JSON = b"application/json"
GRAPHQL_RESPONSE = b"application/graphql-response+json"
EVENT_STREAM = b"text/event-stream"
HTML = b"text/html"
_UTF_8 = (b"utf-8", b"utf8")
_MAX_HEADER_BYTES = 1_024
"""The maximum length of a header with media types. Reading 15,000 media types took 78 ms, and the list had 5 MB."""


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


@lru_cache(maxsize=256)
def accepted(header: bytes) -> Accepted:
    """Return the media types of responses that the value of an Accept header allows. Raises `BadRequest`."""
    ranges = _ranges(header)
    graphql_response, is_named = _quality(GRAPHQL_RESPONSE, ranges)
    json, _ = _quality(JSON, ranges)
    is_preferred = graphql_response > json or (is_named and graphql_response == json)
    single = GRAPHQL_RESPONSE if is_preferred else JSON
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

    If qualities are equal, the media type that comes first in `offered` is returned. Raises `BadRequest`.
    """
    ranges = _ranges(header)
    best = max(offered, key=lambda media_type: _quality(media_type, ranges)[0])
    return best if _quality(best, ranges)[0] else None


@lru_cache(maxsize=256)
def utf_8_type(content_type: bytes) -> bytes | None:
    """Return the media type of a Content-Type header, or None if its charset is not UTF-8. Raises `BadRequest`."""
    _check_length(content_type, "Content-Type")
    parsed = _parse(content_type)
    if parsed is None or any(name == b"charset" and value not in _UTF_8 for name, value in parsed.parameters):
        return None
    return parsed.media_type


def _check_length(header: bytes, name: str) -> None:
    if len(header) > _MAX_HEADER_BYTES:
        raise BadRequest(f"expected at most {_MAX_HEADER_BYTES:,} bytes, got {len(header):,} - in the header `{name}`")


def _ranges(header: bytes) -> Sequence[_Range]:
    _check_length(header, "Accept")
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
