"""A request body that is read while it arrives, and may be endless.

The decoded body may have up to `MAX_RATIO` times the received bytes. Without this limit, the server could work for days
on a few kilobytes. While the server works, it can check whether the client has disconnected.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request

from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.graphql_server.body_decoder import Decoder
from graphql_api.graphql_server.http_request import DEFAULTS, Source, any_turn, decode, decoder_of
from graphql_api.graphql_server.settings import MIB, GraphQLSettings
from storage.documents.errors import TooLarge

MAX_RATIO = 200
"""Decoded bytes for each received byte of a stream. Samples with random numbers have a ratio of 3 to 10."""

MIN_RATIO_BYTES = 64 * MIB
"""The ratio is checked only above this number of decoded bytes, because a body of equal samples has a high ratio."""


def stream_body(request: Request, settings: GraphQLSettings = DEFAULTS, turn: LoopTurn | None = None) -> "BodyStream":
    """Return the decoded body, which may be endless, in pieces of at most a few MiB.

    This function raises errors in the headers at once, so that the response can have the status of the error. The
    iterator raises all other errors while it reads the body; see `read_body`.
    """
    return BodyStream(Source(request, None, settings), decoder_of(request), turn or any_turn())


class BodyStream:
    """An iterator over the pieces of a decoded body."""

    def __init__(self, source: Source, decoder: Decoder | None, turn: LoopTurn) -> None:
        self._source = source
        self._pieces = _stream(source, decoder, turn)

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


async def _stream(source: Source, decoder: Decoder | None, turn: LoopTurn) -> AsyncGenerator[bytes, None]:
    def check_ratio(decoded_bytes: int) -> None:
        if decoded_bytes > MIN_RATIO_BYTES + MAX_RATIO * source.received_bytes:
            raise TooLarge(
                f"expected a body that decompresses to at most {MIN_RATIO_BYTES // MIB} MiB plus {MAX_RATIO} times its "
                "compressed size, got more; send it in several requests"
            )

    async with aclosing(decode(source, decoder, await source.receive(), turn, check_ratio)) as pieces:
        async for piece in pieces:
            yield piece
