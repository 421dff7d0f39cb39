"""Pages and cursors of a list, as in Relay connections.

A cursor contains the id of a document and the values by which the list is ordered. A list can therefore continue after
a document that was deleted. A cursor also contains the time of the write, so that a subscription can continue after the
cursor. Cursors are opaque to clients.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, TypeVar

import msgspec

from graphql_api.budgets.loop_turns import LoopTurn
from storage.documents import BadRequest, document_paths

MAX_PAGE_SIZE = 500  # the client and the dashboard request pages of up to this size
DEFAULT_PAGE_SIZE = 50

T = TypeVar("T")
U = TypeVar("U")

_MAX_CURSOR_CHARACTERS = 1_000
"""Decoding a text of 1 MB takes milliseconds, and an operation can have hundreds of cursors. Cursors are shorter."""

_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A position in a list: the write time of a document, its id, and the values by which the list is ordered."""

    written_at: Annotated[datetime, msgspec.Meta(tz=True)]
    id: str
    order: str = ""
    values: tuple[Annotated[datetime, msgspec.Meta(tz=True)] | float | _Integer, ...] = ()

    def encode(self) -> str:
        """Return the cursor as an opaque text for clients."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, argument: str = "after") -> "Cursor":
        """Return the cursor of a text from `encode`. For any other text, raises `BadRequest` with `argument`."""
        refusal = BadRequest(f"expected a cursor from an earlier response - at `{argument}`")
        if len(text) > _MAX_CURSOR_CHARACTERS:
            raise refusal
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            cursor = msgspec.msgpack.decode(base64.b64decode(padded, b"-_", validate=True), type=cls)
            cursor.encode()  # raises if a time with an offset is outside the years 1 to 9999 in UTC
        except (binascii.Error, UnicodeEncodeError, msgspec.MsgspecError, OverflowError, ValueError):
            raise refusal from None
        if not document_paths.is_uuid(cursor.id):
            raise refusal
        return cursor


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Requests the first `size` documents between two cursors, or the last `size` documents if `backward` is set.

    The documents at the cursors are excluded. If `includes_start` is set, the document at `start` is included.
    """

    size: int
    backward: bool = False
    after: Cursor | None = None
    before: Cursor | None = None
    includes_start: bool = False

    @classmethod
    def of(cls, first: int | None, after: str | None, last: int | None, before: str | None) -> "PageRequest":
        """Return the request for the four arguments of a Relay connection. Raises `BadRequest` if one is invalid."""
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
        """The cursor where reading starts, or None to start at the first document in the reading direction."""
        return self.before if self.backward else self.after

    @property
    def end(self) -> Cursor | None:
        """The cursor before which reading ends, or None to read to the last document in the reading direction."""
        return self.after if self.backward else self.before

    def opposite(self) -> "PageRequest | None":
        """Return a request for one document at or before `start`, to find out whether the list has earlier documents.

        The request reads in the other direction. Returns None if this request has no `start`.
        """
        if self.start is None:
            return None
        after, before = (self.start, None) if self.backward else (None, self.start)
        return PageRequest(1, not self.backward, after, before, includes_start=True)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Documents with their cursors. `has_more` says whether more documents match the request.

    `scanned_to` is the cursor of the last document that was read. That document need not match.
    """

    edges: Sequence[tuple[Cursor, T]]
    has_more: bool
    scanned_to: Cursor | None = None

    async def map(self, convert: Callable[[T], U], turn: LoopTurn) -> "Page[U]":
        """Return the same page with every document converted, in the steps of `turn`."""
        cursors = [cursor for cursor, _ in self.edges]
        converted = await turn.map(convert, (document for _, document in self.edges))
        return Page(list(zip(cursors, converted, strict=True)), self.has_more, self.scanned_to)
