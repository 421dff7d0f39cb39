"""TLS records, and the number of them that one iteration of the event loop decrypts (RFC 8446, section 5.1).

OpenSSL needs about eight microseconds for a record, even if it contains a single byte. A client can therefore send a
megabyte that takes a third of a second to decrypt. In each iteration of the event loop, all connections together
decrypt a limited number of records. Connections with more records wait. Addresses take turns, and the connections of
an address too.
"""

import asyncio
from collections.abc import Callable

from graphql_api.budgets.rotation import Rotation

_HEADER_BYTES = 5
_CONTENT_TYPES = range(20, 25)
_MAX_CONTENT_BYTES = 2**14 + 2_048
"""The maximum length of an encrypted record in TLS 1.2. In TLS 1.3, it is smaller."""

MAX_RECORDS_PER_ITERATION = 128
MAX_RECORDS_PER_TURN = 4
"""The records that one connection decrypts before it lets another one decrypt. A small request has one or two records.
A large body fills each of its records with 16 KiB.
"""

_MIN_RECORDS_LEFT = MAX_RECORDS_PER_ITERATION // 2
"""With fewer records left, the next iteration starts with all records. A callback in each iteration would take 5 µs."""

_READ_BYTES = 2**16
_BUSY_READ_BYTES = 2**14
"""The data that a connection reads while others wait. It keeps this data until its turn."""


def end_of_records(data: memoryview, start: int) -> tuple[int, int]:
    """Return where the last complete record ends, and the number of complete records, up to `MAX_RECORDS_PER_TURN`.

    `start` is the start of the first record. Data that is not a record counts as one, because OpenSSL refuses it.
    """
    end, size = start, len(data)
    for records in range(MAX_RECORDS_PER_TURN):
        content = end + _HEADER_BYTES
        if content > size:
            return end, records
        length = data[end + 3] << 8 | data[end + 4]
        if data[end] not in _CONTENT_TYPES or length > _MAX_CONTENT_BYTES:
            return size, records + 1
        if content + length > size:
            return end, records
        end = content + length
    return end, MAX_RECORDS_PER_TURN


class RecordTurns:
    """The records that may be decrypted in this iteration of the event loop, and the connections that wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._records_left = MAX_RECORDS_PER_ITERATION
        self._waiting = Rotation[Callable[[], None]]()
        self._is_scheduled = False
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._small_buffer = self._buffer[:_BUSY_READ_BYTES]

    @property
    def is_free(self) -> bool:
        """Whether a connection may decrypt now, without waiting."""
        return self._records_left > 0 and not self._waiting

    def buffer(self) -> memoryview:
        """Return memory into which a connection reads. All connections share it, because reads do not overlap."""
        return self._small_buffer if self._waiting else self._buffer

    def received(self, size: int) -> memoryview:
        """Return the data that a connection has just read. The next read of any connection overwrites it."""
        return self._buffer[:size]

    def use(self, records: int) -> None:
        """Count records that are decrypted."""
        self._records_left -= records
        if self._records_left < _MIN_RECORDS_LEFT:
            self._schedule()

    def wait(self, address: str, decrypt: Callable[[], None]) -> None:
        """Call `decrypt` once, in a turn of `address`."""
        self._waiting.add(address, decrypt)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._start_iteration)

    def _start_iteration(self) -> None:
        self._is_scheduled = False
        self._records_left = MAX_RECORDS_PER_ITERATION
        try:
            while self._waiting and self._records_left > 0:
                self._waiting.take()()
        finally:  # the error of one connection, such as a MemoryError, must not stop the others
            if self._waiting:
                self._schedule()
