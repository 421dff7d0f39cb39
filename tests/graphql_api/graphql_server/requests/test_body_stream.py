"""Request bodies without a size limit: the ratio of the compression, and the memory of the decoder."""

import gzip

import pytest
import zstandard

from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.graphql_server.requests import request_body
from graphql_api.graphql_server.requests.request_body import BodyStream, any_turn
from storage.documents.errors import TooLarge, Unavailable
from tests.graphql_api.graphql_server.requests.test_request_body import request_of


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
async def test_the_ratio_of_a_stream_is_limited(monkeypatch: pytest.MonkeyPatch, compress: object) -> None:
    """A kilobyte could keep the server busy for hours. A stream of usual samples has a much lower ratio."""
    assert callable(compress)
    reservation = MemoryBudget(100_000_000).new_reservation()
    monkeypatch.setattr(request_body, "MIN_RATIO_BYTES", 1_000_000)
    encoding = "gzip" if compress is gzip.compress else "zstd"
    usual = "".join(f'{{"data": [{number}.5]}}\n' for number in range(200_000)).encode()

    equal = BodyStream(request_of(compress(bytes(20_000_000)), encoding), any_turn(), reservation)
    with pytest.raises(TooLarge, match="plus 200 times its compressed size"):
        _ = [piece async for piece in equal]

    different = BodyStream(request_of(compress(usual), encoding), any_turn(), reservation)
    assert b"".join([piece async for piece in different]) == usual


async def test_a_stream_reserves_the_memory_of_its_decoder() -> None:
    """A few hundred bytes of zstd make the decoder keep 8 MiB, and thousands of streams can be open."""
    window = zstandard.ZstdCompressionParameters(window_log=23)
    large = zstandard.ZstdCompressor(compression_params=window).compress(bytes(12_000_000))
    budget = MemoryBudget(12_000_000)

    def stream(body: bytes) -> BodyStream:
        return BodyStream(request_of(body, "zstd"), any_turn(), budget.new_reservation())

    first, second, small = stream(large), stream(large), stream(zstandard.compress(b"{}\n" * 100))
    pieces = aiter(first)
    decoded_bytes = 0
    while decoded_bytes < 9_000_000:
        decoded_bytes += len(await anext(pieces))
    with pytest.raises(Unavailable, match="too many large requests"):
        _ = [piece async for piece in second]
    assert b"".join([piece async for piece in small]) == b"{}\n" * 100

    await first.aclose()
    assert len(b"".join([piece async for piece in stream(large)])) == 12_000_000
