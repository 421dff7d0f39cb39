"""Which media types a client sends and accepts, read from headers once per distinct header.

`*/*` and no header at all mean `application/json`, as the GraphQL-over-HTTP audits ask; a subscription
has to be answered as a stream, and a client that would take anything gets Server-Sent Events.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

JSON = b"application/json"
GRAPHQL_RESPONSE = b"application/graphql-response+json"
EVENT_STREAM = b"text/event-stream"
MULTIPART = b"multipart/mixed"
HTML = b"text/html"
_UTF_8 = (b"utf-8", b"utf8")


class Accepted(NamedTuple):
    """What a client takes, in the order in which it is chosen."""

    answer: bytes | None
    """The media type of a single answer."""
    stream: bytes | None
    """The media type of a stream of answers."""
    prefers_stream: bool
    """Whether even a single answer should come as a stream."""
    prefers_html: bool


class _Range(NamedTuple):
    media_type: bytes
    parameters: frozenset[tuple[bytes, bytes]]
    quality: float


@lru_cache(maxsize=256)
def accepted(header: bytes) -> Accepted:
    """Read an Accept header."""
    ranges = _ranges(header)
    response, explicitly = _quality(GRAPHQL_RESPONSE, ranges)
    json, _ = _quality(JSON, ranges)
    answer_quality = max(response, json)
    answer = GRAPHQL_RESPONSE if explicitly and response >= json else JSON
    events, events_named = _quality(EVENT_STREAM, ranges)
    # Other uses of multipart/mixed, such as for @defer, are not spoken here.
    specification = (b"subscriptionspec", b"1.0")
    parts = max((r.quality for r in ranges if r[0] == MULTIPART and specification in r.parameters), default=0)
    stream = MULTIPART if parts and (parts >= events or not events_named) else EVENT_STREAM
    stream_quality = max(events, parts)
    html, html_named = _quality(HTML, ranges)
    return Accepted(
        answer if answer_quality else None,
        stream if stream_quality else None,
        prefers_stream=(events_named or parts > 0) and stream_quality > answer_quality,
        prefers_html=html_named and html > 0 and html >= answer_quality,
    )


def preferred(header: bytes, offered: Sequence[bytes]) -> bytes | None:
    """Return which of the media types that are `offered` is wanted most, the first of equals; none if none is."""
    ranges = _ranges(header)
    best = max(offered, key=lambda media_type: _quality(media_type, ranges)[0])
    return best if _quality(best, ranges)[0] else None


def is_json(content_type: bytes) -> bool:
    """Whether a Content-Type header says JSON in UTF-8, and nothing that only resembles it."""
    return utf_8_type(content_type) == JSON


@lru_cache(maxsize=256)
def utf_8_type(content_type: bytes) -> bytes | None:
    """Return the media type that a Content-Type header says; none if it says another charset than UTF-8."""
    parsed = _read(content_type)
    if parsed is None or any(name == b"charset" and value not in _UTF_8 for name, value in parsed.parameters):
        return None
    return parsed.media_type


@lru_cache(maxsize=256)
def _ranges(header: bytes) -> Sequence[_Range]:
    return [parsed for part in header.split(b",") if (parsed := _read(part))] or [_Range(b"*/*", frozenset(), 1)]


def _read(part: bytes) -> _Range | None:
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
    """Return how much a media type is wanted, and whether it was named."""
    wildcard = media_type.partition(b"/")[0] + b"/*"
    for pattern in (media_type, wildcard, b"*/*"):
        qualities = [r.quality for r in ranges if r.media_type == pattern]
        if qualities:
            return max(qualities), pattern == media_type
    return 0, False
