"""Page tokens of lists: the read time of the first page and the position where a page ended.

All pages use this read time, so they show the same state. A token starts with a checksum of itself and of its list.
Production requires that all requests of a list are equal, apart from the page size. A position in one list is the wrong
place in another one, where documents would be skipped or returned twice.
"""

import base64
import zlib
from typing import Any

from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.queries.sort_order import SortKey


def create(request: Any, read_time: int, position: SortKey) -> str:
    """Return the token of the page after `position` in the list of a request."""
    parts = (base64.urlsafe_b64encode(part).decode() for part in position)
    rest = ".".join((str(read_time), *parts))
    return f"{_checksum(request, rest)}.{rest}"


def read(request: Any) -> tuple[int, SortKey]:
    """Return the read time and the position of the token in a request.

    Raise `StatusError` if the token is damaged or belongs to another list.
    """
    checksum, _, rest = request.page_token.partition(".")
    if checksum != _checksum(request, rest):
        raise invalid_argument(
            "The page token is invalid. All parameters except page_size must be equal to those of the first page."
        )
    read_time, *parts = rest.split(".")
    return int(read_time), tuple(map(base64.urlsafe_b64decode, parts))


def _checksum(request: Any, rest: str) -> str:
    compared = type(request)()
    compared.CopyFrom(request)
    compared.ClearField("page_token")
    compared.ClearField("page_size")
    listed = f"{request.DESCRIPTOR.name} {rest} ".encode() + compared.SerializeToString(deterministic=True)
    return f"{zlib.crc32(listed):08x}"
