"""Lists of parameters in SQL statements.

A connection keeps the statements that it ran last, by their texts. A statement with hundreds of parameters takes tens
of KiB. With a text for each number of parameters, these statements filled the memory of a server under load: by
100 MiB in an hour. Lists are therefore padded to a power of two, so that there are few texts.
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def padded(values: Sequence[T]) -> list[T]:
    """Return the values, and the last value again until their number is a power of two.

    Use it for `IN (...)`, where a repeated value changes nothing. Raises `IndexError` for an empty list.
    """
    missing = (1 << (len(values) - 1).bit_length()) - len(values)
    return [*values, *[values[-1]] * missing]
