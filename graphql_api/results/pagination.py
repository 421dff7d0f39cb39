"""Filters, orders, cursors and spans: what a reader asks of a list, before it becomes a Firestore query.

A cursor holds the values that its document had in the order it was read in, and its id: so a page goes on
after the document even if the document is gone. It also holds the time of the write, from which a
subscription can go on. Clients treat it as opaque.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, TypeVar

import msgspec

from storage.documents import BadRequest, document_paths

MAX_PAGE = 500
DEFAULT_PAGE = 50

T = TypeVar("T")


_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A place in a collection: a document's write time, its id, and its values in a certain order."""

    written_at: Annotated[datetime, msgspec.Meta(tz=True)]
    id: str
    order: str = ""
    values: tuple[Annotated[datetime, msgspec.Meta(tz=True)] | float | _Integer, ...] = ()

    def encode(self) -> str:
        """Return the cursor as clients see it."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, argument: str = "after") -> "Cursor":
        """Return the cursor that `encode` gave. Raises `BadRequest` with the `argument` for any other text."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            cursor = msgspec.msgpack.decode(base64.b64decode(padded, b"-_", validate=True), type=cls)
            cursor.encode()  # a time with an offset may lie beyond all times in UTC
            if document_paths.is_sample_id(cursor.id):
                return cursor
        except (binascii.Error, UnicodeEncodeError, msgspec.MsgspecError, OverflowError, ValueError):
            pass
        raise BadRequest(f"expected a cursor of an earlier answer - at `{argument}`")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a list: so many from its beginning, or `backward` from its end, between two cursors.

    What stands at a cursor is not part of it, but for where it starts when it is `inclusive`.
    """

    size: int
    backward: bool = False
    after: Cursor | None = None
    before: Cursor | None = None
    inclusive: bool = False

    @classmethod
    def of(cls, first: int | None, after: str | None, last: int | None, before: str | None) -> "Span":
        """Return what the four arguments of a Relay connection ask for. Raises `BadRequest`."""
        if first is not None and last is not None:
            raise BadRequest("expected `first` or `last`, got both - at `last`")
        name, size = ("first", first) if last is None else ("last", last)
        if size is not None and not 0 <= size <= MAX_PAGE:
            raise BadRequest(f"expected 0 to {MAX_PAGE}, got {size} - at `{name}`")
        return cls(
            size=DEFAULT_PAGE if size is None else size,
            backward=last is not None,
            after=None if after is None else Cursor.decode(after, "after"),
            before=None if before is None else Cursor.decode(before, "before"),
        )

    @property
    def start(self) -> Cursor | None:
        """Where reading starts."""
        return self.before if self.backward else self.after

    @property
    def end(self) -> Cursor | None:
        """Where reading ends at the latest."""
        return self.after if self.backward else self.before

    def opposite(self) -> "Span | None":
        """Return the one document that stands where reading starts or next to it on the other side, if there is one."""
        if self.start is None:
            return None
        after, before = (self.start, None) if self.backward else (None, self.start)
        return Span(1, not self.backward, after, before, inclusive=True)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The documents of a span with their cursors, and whether the span has more of them.

    `end` is how far was read, where that is further than the last document found.
    """

    edges: Sequence[tuple[Cursor, T]]
    has_more: bool
    end: Cursor | None = None
