"""Pages and cursors of a list, as in Relay connections.

A cursor holds the id of its document and the document's values in the order of the list. A page can therefore
continue after a document that was deleted. A cursor also holds the time of the write, from which a subscription can
continue. Clients treat cursors as opaque.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, TypeVar

import msgspec

from storage.documents import BadRequest, document_paths

MAX_PAGE_SIZE = 500  # the client and the dashboard request pages of up to this size
DEFAULT_PAGE_SIZE = 50

T = TypeVar("T")
U = TypeVar("U")

_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A position in a list: the time of a document's write, its id, and its values in the order of the list."""

    written_at: Annotated[datetime, msgspec.Meta(tz=True)]
    id: str
    order: str = ""
    values: tuple[Annotated[datetime, msgspec.Meta(tz=True)] | float | _Integer, ...] = ()

    def encode(self) -> str:
        """Return the cursor as clients see it."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, argument: str = "after") -> "Cursor":
        """Return the cursor that `encode` returned as `text`. Raises `BadRequest` that names `argument` otherwise."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            cursor = msgspec.msgpack.decode(base64.b64decode(padded, b"-_", validate=True), type=cls)
            cursor.encode()  # raises if a time with an offset is outside the years 1 to 9999 in UTC
            if document_paths.is_sample_id(cursor.id):
                return cursor
        except (binascii.Error, UnicodeEncodeError, msgspec.MsgspecError, OverflowError, ValueError):
            pass
        raise BadRequest(f"expected a cursor from an earlier response - at `{argument}`")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The first `size` documents between two cursors, or the last ones if `backward`.

    The documents at the cursors are excluded, except the one at `start` if `inclusive`.
    """

    size: int
    backward: bool = False
    after: Cursor | None = None
    before: Cursor | None = None
    inclusive: bool = False

    @classmethod
    def of(cls, first: int | None, after: str | None, last: int | None, before: str | None) -> "PageRequest":
        """Return the request for the four arguments of a Relay connection. Raises `BadRequest`."""
        if first is not None and last is not None:
            raise BadRequest("expected `first` or `last`, got both - at `last`")
        name, size = ("first", first) if last is None else ("last", last)
        if size is not None and not 0 <= size <= MAX_PAGE_SIZE:
            raise BadRequest(f"expected 0 to {MAX_PAGE_SIZE}, got {size} - at `{name}`")
        return cls(
            size=DEFAULT_PAGE_SIZE if size is None else size,
            backward=last is not None,
            after=None if after is None else Cursor.decode(after, "after"),
            before=None if before is None else Cursor.decode(before, "before"),
        )

    @property
    def start(self) -> Cursor | None:
        """The cursor from which documents are read; None for the first document in the direction of reading."""
        return self.before if self.backward else self.after

    @property
    def end(self) -> Cursor | None:
        """The cursor before which reading ends; None for the last document in the direction of reading."""
        return self.after if self.backward else self.before

    def opposite(self) -> "PageRequest | None":
        """Return a request for one document at or beyond `start`, read in the other direction; None without `start`."""
        if self.start is None:
            return None
        after, before = (self.start, None) if self.backward else (None, self.start)
        return PageRequest(1, not self.backward, after, before, inclusive=True)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Documents with their cursors, and whether more documents match the request.

    `scanned_to` is the cursor of the last document that was read, which may be beyond the last one that matches.
    """

    edges: Sequence[tuple[Cursor, T]]
    has_more: bool
    scanned_to: Cursor | None = None

    def map(self, convert: Callable[[T], U]) -> "Page[U]":
        """Return the same page with every document converted."""
        return Page([(cursor, convert(document)) for cursor, document in self.edges], self.has_more, self.scanned_to)
