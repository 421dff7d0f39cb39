"""Positions between the keys of an index."""

from infra.embedded.firestore.encoding import path_encoding, values
from infra.embedded.firestore.queries.sort_order import Order

Position = tuple[bytes, bool]
"""A position between keys: a prefix, and whether the position is after (not before) all keys with this prefix."""

_AFTER_END = b"\x01"  # what `after_prefix` returns for the end mark of a path


def truncated(operand: bytes) -> bytes:
    """Return the part of a value that an index contains."""
    return operand[: values.MAX_INDEXED_BYTES]


def directed(part: bytes, order: Order) -> bytes:
    """Return a part of a key in the direction of an order."""
    return values.invert(part) if order.descending else part


def inverted(position: Position) -> Position:
    """Return the same position among keys in the opposite direction."""
    prefix, after = position
    return values.invert(prefix), not after


def key_at(position: Position) -> bytes:
    """Return the first key at or after a position."""
    prefix, after = position
    return after_prefix(prefix) if after else prefix


def after_prefix(prefix: bytes) -> bytes:
    """Return the first key after all keys with a prefix. The prefix may end with 0xff bytes."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else path_encoding.AFTER_ALL


def without_end(key: bytes) -> bytes:
    """Convert a bound for paths with an end mark to a bound for paths without an end mark."""
    if key.endswith(_AFTER_END):
        return key[:-1] + b"\0"
    return key.removesuffix(values.END)
