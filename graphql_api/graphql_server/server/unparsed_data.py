"""Data that a connection has received and cannot parse yet. All connections together keep a limited number of bytes."""

_MAX_BYTES = 64 * 2**20
_MAX_BYTES_OF_ANY_CONNECTION = 16 * 2**10
"""Each connection may keep this number of bytes, even if all connections together have reached the limit."""


class UnparsedTotal:
    """The bytes that all connections of the process keep."""

    def __init__(self) -> None:
        self.bytes = 0


class UnparsedData:
    """The data that one connection keeps: `data` from the position `start`."""

    def __init__(self, total: UnparsedTotal) -> None:
        self.data = b""
        self.start = 0
        self._total = total

    def __bool__(self) -> bool:
        return self.start < len(self.data)

    @property
    def size(self) -> int:
        """The number of bytes to parse."""
        return len(self.data) - self.start

    def append(self, data: bytes) -> None:
        """Keep more data."""
        self.set(self.data[self.start :] + data if self else data, 0)

    def set(self, data: bytes, start: int) -> None:
        """Keep `data` from the position `start`. Copy it only after half of it is parsed."""
        if start > len(data) // 2:
            data, start = data[start:], 0
        self._total.bytes += len(data) - len(self.data)
        self.data, self.start = data, start

    def clear(self) -> None:
        """Keep nothing."""
        self.set(b"", 0)

    @property
    def is_too_much(self) -> bool:
        """Whether the limits are exceeded."""
        return len(self.data) > _MAX_BYTES_OF_ANY_CONNECTION and self._total.bytes > _MAX_BYTES
