"""A request body that is read while it arrives, and may be endless.

The decoded body may have up to `MAX_RATIO` times the received bytes. Without this limit, the server could work for days
on a few kilobytes. While the server works, it can check whether the client has disconnected.

A zstd decoder keeps the last 8 MiB that it has decoded, and 400 bytes can decode to 8 MiB. The stream therefore
reserves the memory of its decoder.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request

from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES, Reservation
from graphql_api.graphql_server.body_decoder import Decoder, checked_start, decoder_of
from graphql_api.graphql_server.http_request import DEFAULTS, Source, decode, header
from graphql_api.graphql_server.settings import MIB
from storage.documents.errors import TooLarge

MAX_RATIO = 200
"""Decoded bytes for each received byte of a stream. Samples with random numbers have a ratio of 3 to 10."""

MIN_RATIO_BYTES = 64 * MIB
"""The ratio is checked only above this number of decoded bytes, because a body of equal samples has a high ratio."""


class BodyStream:
    """An iterator over the pieces of a decoded body, which may be endless. A piece has at most a few MiB.

    `reservation` holds the memory of the decoder until the stream is closed.
    """

    def __init__(self, request: Request, turn: LoopTurn, reservation: Reservation) -> None:
        """Raise errors in the headers at once, so that the response can have the status of the error.

        The iterator raises all other errors while it reads the body; see `read_body`.
        """
        self._source = Source(request, None, DEFAULTS)
        self._pieces = _stream(self._source, decoder_of(header(request, b"content-encoding")), turn, reservation)

    @property
    def received_bytes(self) -> int:
        """The number of bytes received from the client, before they are decoded."""
        return self._source.received_bytes

    def check_client(self) -> None:
        """Raise `ClientDisconnect` if the client has disconnected."""
        self._source.check_client()

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._pieces

    async def aclose(self) -> None:
        """Stop reading."""
        await self._pieces.aclose()


async def _stream(
    source: Source, decoder: Decoder | None, turn: LoopTurn, reservation: Reservation
) -> AsyncGenerator[bytes, None]:
    def check(decoded_bytes: int) -> None:
        if decoded_bytes > MIN_RATIO_BYTES + MAX_RATIO * source.received_bytes:
            raise TooLarge(
                f"expected a body that decompresses to at most {MIN_RATIO_BYTES // MIB} MiB plus {MAX_RATIO} times its "
                "compressed size, got more; send it in several requests"
            )
        size = 0 if decoder is None else min(decoder.memory_bytes, decoded_bytes)
        reservation.resize(size if size > MIN_RESERVED_BYTES else 0)

    with reservation:
        pieces = decode(source, decoder, checked_start(await source.receive(), decoder), turn, check)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
