"""Compressed and malformed bodies that cost the server much more than the client."""

import asyncio
import gzip
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import zstandard

from tests.attack.registry import add, attack
from tests.attack.target import JSON, NDJSON, Harm, Target, post

_MIB = 2**20
_MILLION = 1_000_000
_START = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": ['


def zstd(pattern: bytes, size: int, start: bytes = b"", end: bytes = b"") -> bytes:
    """Compress `start`, `size` bytes of a repeated pattern, and `end`. Memory does not depend on `size`."""
    compressor = zstandard.ZstdCompressor(level=19).compressobj()
    piece = pattern * max(1, _MIB // len(pattern))
    pieces = [compressor.compress(start)]
    pieces += [compressor.compress(piece) for _ in range(max(1, size // len(piece)))]
    return b"".join([*pieces, compressor.compress(end), compressor.flush()])


_ZSTD = "content-encoding: zstd"
_SAMPLES = {
    "overflowing_numbers": (b"1e308,", b"1]}"),
    "infinite_numbers": (b"1e999,", b"1]}"),
    "vanishing_numbers": (b"1e-999,", b"1]}"),
    "subnormal_numbers": (b"4.9406564584124654e-324,", b"1]}"),
    "long_numbers": (b"0." + b"1234567890" * 70 + b",", b"1]}"),
    "large_exponents": (b"1e" + b"9" * 300 + b",", b"1]}"),
    "half_way_numbers": (b"9007199254740993.0000000000000000000000000001,", b"1]}"),
    "nulls": (b"null,", b"1]}"),
    "nested_lists": (b"[", b"]}"),
    "empty_objects": (b"{},", b"1]}"),
    "strings": (b'"a",', b"1]}"),
    "escaped_surrogates": (b'"\\ud800",', b"1]}"),
    "blanks": (b" ", b"1]}"),
    "commas": (b",", b"1]}"),
}


async def poison(pattern: bytes, end: bytes, target: Target) -> None:
    """Send two samples of 60 MiB that a compressor reduces to kilobytes."""
    body = zstd(pattern, 60 * _MIB, _START, end)
    await asyncio.gather(*(post(target, body, _ZSTD, f"content-type: {JSON}") for _ in range(2)))


for _name, (_pattern, _end) in _SAMPLES.items():
    add(f"sample_of_{_name}", partial(poison, _pattern, _end), is_short=_name == "overflowing_numbers")


def _keys() -> bytes:
    return b",".join(b'"k%d":0' % number for number in range(_MILLION))


_GRAPHQL: dict[str, Callable[[], bytes]] = {  # created when the attack runs, because they take seconds and 100 MB
    "distinct_keys": lambda: b'{"query":"{ __typename }",%b}' % _keys(),
    "distinct_variables": lambda: b'{"query":"{ __typename }","variables":{%b}}' % _keys(),
    "distinct_extensions": lambda: b'{"query":"{ __typename }","extensions":{%b}}' % _keys(),
    "nested_variables": lambda: (
        b'{"query":"{ __typename }","variables":{"a":%b%b}}' % (b"[" * _MILLION, b"]" * _MILLION)
    ),
    "escaped_query": lambda: b'{"query":"%b"}' % (b"\\u007b" * 2 * _MILLION),
    "surrogates_in_query": lambda: b'{"query":"%b"}' % (b"\\ud800" * 2 * _MILLION),
    "long_list_of_samples": lambda: (
        b'{"query":"mutation($s:[RawSample!]!){submitMany(samples:$s){id}}","variables":{"s":[%b0]}}'
        % (b"0," * 5 * _MILLION)
    ),
}


async def graphql_body(new_body: Callable[[], bytes], target: Target) -> None:
    """Send four large GraphQL requests, compressed."""
    compressed = zstandard.compress(new_body())
    header = f"content-type: {JSON}"
    await asyncio.gather(*(post(target, compressed, _ZSTD, header, path="/graphql") for _ in range(4)))


for _name, _new_body in _GRAPHQL.items():
    add(f"graphql_{_name}", partial(graphql_body, _new_body), is_short=_name == "distinct_keys")


async def graphql_surrogates(target: Target) -> None:
    """Send 10 million escaped surrogates in a few kilobytes, four times."""
    body = zstd(b"\\ud800", 60 * _MIB, b'{"query":"', b'"}')
    await asyncio.gather(*(post(target, body, _ZSTD, f"content-type: {JSON}", path="/graphql") for _ in range(4)))


add("graphql_ten_million_surrogates", graphql_surrogates)

_LINES = {
    "lines": b"{}\n",
    "blank_lines": b"\n",
    "blanks": b" ",
    "carriage_returns": b"\r\n",
    "zeros": b"0\n",
    "long_lines_without_end": b"x",
    "valid_lines": b'{"time_stamp":"2019-05-01T06:00:00Z","data":[1]}\n',
}
_STORED_LINES = {"lines", "zeros", "valid_lines"}
"""Lines that are JSON texts, so the server stores each of them as a sample, valid or not."""


async def bomb(pattern: bytes, target: Target) -> None:
    """Send a stream of lines that stands for 1 GiB, and disconnect after two seconds."""
    body = zstd(pattern, 1024 * _MIB)

    async def send() -> None:
        async with target.connection() as (reader, writer):
            writer.write(target.head("/samples", f"content-type: {NDJSON}", _ZSTD, f"content-length: {len(body)}"))
            writer.write(body)
            try:
                async with asyncio.timeout(2):
                    while await reader.read(2**16):
                        pass
            except (TimeoutError, ConnectionError):
                pass

    await asyncio.gather(*(send() for _ in range(2)))


for _name, _pattern in _LINES.items():
    add(
        f"bomb_of_{_name}",
        partial(bomb, _pattern),
        stores_samples=_name in _STORED_LINES,
        is_short=_name == "lines",
    )


@attack(is_short=True)
async def refused_lines_of_blanks(target: Target) -> None:
    """Send 62 MiB of blanks as one line, 40 times at once."""
    body = zstd(b" ", 62 * _MIB)
    await asyncio.gather(*(post(target, body, _ZSTD, f"content-type: {NDJSON}") for _ in range(40)))


@attack()
async def small_overflowing_lines(target: Target) -> None:
    """Send 2,000 lines of 9.6 KB whose numbers overflow."""
    body = (_START + b"1e308," * 1_600 + b"1]}\n") * 2_000
    await post(target, zstandard.compress(body), _ZSTD, f"content-type: {NDJSON}", seconds=target.seconds)


@attack()
async def gzip_of_empty_members(target: Target) -> None:
    """Send a gzip body of 1 million empty members."""
    body = gzip.compress(b"") * 1_000_000
    await post(target, body, "content-encoding: gzip", f"content-type: {JSON}")


@attack()
async def zstd_of_empty_frames(target: Target) -> None:
    """Send a zstd body of 2 million empty frames."""
    body = zstandard.compress(b"") * 2_000_000
    await post(target, body, _ZSTD, f"content-type: {NDJSON}")


@attack()
async def empty_frames_of_clients_that_vanish(target: Target) -> None:
    """Send zstd bodies of 3 million skippable frames over 16 connections, and disconnect before their end."""
    body = b"\x50\x2a\x4d\x18\0\0\0\0" * 3_000_000
    await asyncio.gather(*(post(target, body, _ZSTD, f"content-type: {JSON}", seconds=3) for _ in range(16)))


@attack()
async def zstd_with_a_huge_window(target: Target) -> None:
    """Send zstd bodies that ask for a window of 2 GiB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=31, compression_level=3, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = compressor.compress(b" " * _MIB) + compressor.flush()
    await asyncio.gather(*(post(target, body, _ZSTD, f"content-type: {JSON}") for _ in range(40)))


@attack()
async def zstd_windows_of_open_streams(target: Target) -> None:
    """Open 400 NDJSON streams, and send 400 bytes over each, which make its decoder keep 8 MiB."""
    compressor = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=23))
    stream = compressor.compressobj()
    body = stream.compress(b" " * 12 * _MIB) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    head = target.head("/samples", f"content-type: {NDJSON}", _ZSTD, "content-length: 100000000")
    async with AsyncExitStack() as opened:
        for _ in range(400):
            _, writer = await opened.enter_async_context(target.connection())
            writer.write(head + body)
        await asyncio.sleep(target.seconds)


@attack()
async def large_refused_requests(target: Target) -> None:
    """Send 16 requests of 63 MiB at once that are refused."""
    body = zstd(b"1,", 63 * _MIB, b"[", b"1]")
    responses = await asyncio.gather(*(post(target, body, _ZSTD, f"content-type: {JSON}") for _ in range(16)))
    if any(b" 201 " in response[:20] for response in responses):
        raise Harm("a list was accepted as a sample")
