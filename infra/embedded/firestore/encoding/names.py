"""Names of documents, parsed once, and the bytes that sort them as Firestore does.

Names sort segment by segment, not as strings: `a/b` comes before `a-/b`. A segment is a tag, its UTF-8
and an end that no text contains, so that paths compare byte by byte and each path is a prefix of the
paths beneath it. Numeric ids (`__id7__`) sort before all others. The trap is NUL, which cursors of
recursive deletion bring along: it is escaped, and the end mark sorts below the escape.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from infra.embedded.firestore.errors import StatusError, invalid_argument

MAX_ID_BYTES = 1500
MAX_NAME_BYTES = 6 * 1024
MAX_COLLECTION_DEPTH = 100

REMEMBERED = 1024  # collections: most names differ from the one before in their id alone

NUMERIC_TAG = b"\x01"
TEXT_TAG = b"\x02"
TEXT_END = b"\x00\x01"
TEXT_NUL = b"\x00\xff"
AFTER_ALL = b"\xff"

_numeric_id = re.compile(r"__id(-?\d{1,19})__")
_reserved_id = re.compile(r"__.*__", re.DOTALL)


def encode_text(text: str) -> bytes:
    """Return bytes that sort as the UTF-8 of `text` and are no prefix of those of another text."""
    return encode_bytes(text.encode())


def encode_bytes(raw: bytes) -> bytes:
    """Return bytes that sort as `raw` and are no prefix of those of other bytes."""
    return raw.replace(b"\0", TEXT_NUL) + TEXT_END


def encode_segment(segment: str) -> bytes:
    """Return the bytes of one id in a path."""
    if segment.startswith("__id"):
        numeric = _numeric_id.fullmatch(segment)
        if numeric and -(1 << 63) <= (number := int(numeric[1])) < 1 << 63:
            return NUMERIC_TAG + (number + (1 << 63)).to_bytes(8, "big")
    return TEXT_TAG + encode_text(segment)


def encode_path(segments: tuple[str, ...]) -> bytes:
    """Return the bytes of a path: those of its segments, one after the other."""
    return _encode_parent(segments[:-1]) + encode_segment(segments[-1]) if segments else b""


@lru_cache(maxsize=REMEMBERED)
def _encode_parent(segments: tuple[str, ...]) -> bytes:
    return b"".join(map(encode_segment, segments))


def decode_path(encoded: bytes) -> tuple[str, ...]:
    """Return the segments that `encode_path` was given."""
    segments = []
    start = 0
    while start < len(encoded):
        if encoded[start : start + 1] == NUMERIC_TAG:
            number = int.from_bytes(encoded[start + 1 : start + 9], "big") - (1 << 63)
            segments.append(f"__id{number}__")
            start += 9
        else:
            end = encoded.index(TEXT_END, start)
            segments.append(encoded[start + 1 : end].replace(TEXT_NUL, b"\0").decode())
            start = end + len(TEXT_END)
    return tuple(segments)


@dataclass(frozen=True, slots=True)
class Name:
    """A place in a database: its root (no segments), a collection (odd) or a document (even)."""

    database: str
    segments: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join((self.database, "documents", *self.segments))

    @property
    def collection_id(self) -> str:
        """The id of the collection that a document is in."""
        return self.segments[-2]

    @property
    def path(self) -> bytes:
        """The path as bytes that sort."""
        return encode_path(self.segments)


def parse_database(name: str) -> str:
    """Check `projects/{project}/databases/{database}` and return it."""
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != "projects" or parts[2] != "databases" or not parts[1] or not parts[3]:
        raise invalid_argument(
            f'Invalid database name: "{name}" (expected projects/{{project}}/databases/{{database}}).'
        )
    return name


def parse(name: str) -> Name:
    """Split a full name without judging its ids, as it may stand in a cursor or a filter."""
    parts = name.split("/")
    for index, expected in ((0, "projects"), (2, "databases"), (4, "documents")):
        if len(parts) <= index or parts[index] != expected:
            raise invalid_argument(f'Document name "{name}" lacks "{expected}" at index {index}.')
    if not parts[1] or not parts[3] or "" in parts[5:]:
        raise invalid_argument(f'Document name "{name}" has an empty segment.')
    return Name("/".join(parts[:4]), tuple(parts[5:]))


def parse_parent(name: str) -> Name:
    """Return the document, or root of a database, that collections are asked for of."""
    parent = parse(name)
    if len(parent.segments) % 2:
        raise invalid_argument(f'Document parent name "{name}" lacks "/" at index {len(name)}.')
    return parent


def parse_document(name: str, database: str) -> Name:
    """Return the name of a document that may be written to or read from `database`."""
    parent, _, document_id = name.rpartition("/")
    collection = _parse_collection(parent, database) if len(name) <= MAX_NAME_BYTES else None  # none is kept
    if collection is None or not document_id:
        return _parse_document(name, database)
    check_id(document_id)
    _check_length(name)
    return Name(database, (*collection, document_id))


@lru_cache(maxsize=REMEMBERED)
def _parse_collection(name: str, database: str) -> tuple[str, ...] | None:
    """Return the segments of a collection that documents may be in, or None."""
    try:
        return _parse_document(f"{name}/id", database).segments[:-1]
    except StatusError:
        return None


def _parse_document(name: str, database: str) -> Name:
    document = parse(name)
    if document.database != database:
        raise invalid_argument(
            f'Document name "{name}" must be in the database of the request, "{database}".',
        )
    if not document.segments or len(document.segments) % 2:
        raise invalid_argument(f'Document name "{name}" lacks "/" at index {len(name)}.')
    if len(document.segments) > 2 * MAX_COLLECTION_DEPTH:
        raise invalid_argument(f'Document name "{name}" has more than {MAX_COLLECTION_DEPTH} collections.')
    for segment in document.segments:
        check_id(segment)
    _check_length(name)
    return document


def _check_length(name: str) -> None:
    if len(name) * 4 > MAX_NAME_BYTES and len(name.encode()) > MAX_NAME_BYTES:
        raise invalid_argument(f"The document name is longer than {MAX_NAME_BYTES} bytes.")


def check_id(segment: str) -> None:
    """Refuse what cannot be the id of a collection or document."""
    if segment in (".", ".."):
        raise invalid_argument(f'Resource id "{segment}" is invalid because it is "." or "..".')
    if segment.startswith("__") and _reserved_id.fullmatch(segment) and not _numeric_id.fullmatch(segment):
        raise invalid_argument(f'Resource id "{segment}" is invalid because it is reserved.')
    if len(segment) * 4 > MAX_ID_BYTES and len(segment.encode()) > MAX_ID_BYTES:
        raise invalid_argument(f"Resource id is longer than {MAX_ID_BYTES} bytes.")
    if "/" in segment:
        raise invalid_argument(f'Resource id "{segment}" is invalid because it contains "/".')
