"""Filters, orders and cursors: what a reader asks of a collection, before it becomes a Firestore query.

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

from documents import BadRequest, names

MAX_PAGE = 500
DEFAULT_PAGE = 50

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bound:
    """One side of a range: `operator` is one of `>=`, `>`, `<=`, `<`."""

    field: str
    operator: str
    value: datetime | float | int


@dataclass(frozen=True, slots=True)
class Order:
    """A stored field and a direction."""

    field: str
    descending: bool = False


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
    def decode(cls, text: str) -> "Cursor":
        """Return the cursor that `encode` gave. Raises `BadRequest` for any other text."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            cursor = msgspec.msgpack.decode(base64.b64decode(padded, b"-_", validate=True), type=cls)
            if names.is_sample_id(cursor.id):
                return cursor
        except (binascii.Error, UnicodeEncodeError, msgspec.MsgspecError, ValueError):
            pass
        raise BadRequest("expected a cursor of an earlier answer - at `after`")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The documents of a page with their cursors, and whether there is more behind them."""

    edges: Sequence[tuple[Cursor, T]]
    has_next: bool
    end: Cursor | None = None


def page_size(first: int | None) -> int:
    """Return how many documents `first` asks for. Raises `BadRequest` where it is not 0 to `MAX_PAGE`."""
    if first is None:
        return DEFAULT_PAGE
    if not 0 <= first <= MAX_PAGE:
        raise BadRequest(f"expected 0 to {MAX_PAGE}, got {first} - at `first`")
    return first
