"""What resolvers work with: who is asking, and the services of the process.

One context serves one operation: its loaders join the reads that one level of a query needs into one call.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import strawberry
from strawberry.dataloader import DataLoader

from documents import Header, Result, TooLarge, payload
from graphql_api.auth import Caller
from graphql_api.live import Live
from graphql_api.receiving import Receiver
from graphql_api.store import Store


@dataclass(slots=True)
class Context:
    """The caller and the services; the loaders give documents of the caller's by sample id."""

    caller: Caller
    store: Store
    live: Live
    receiver: Receiver
    headers: DataLoader[str, Header | None] = field(init=False)
    results: DataLoader[str, Result | None] = field(init=False)
    values: DataLoader[str, Sequence[float]] = field(init=False)
    _raws: DataLoader[str, bytes] = field(init=False)
    _raw_bytes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Make the loaders; nothing is read before they are asked."""
        self.headers = DataLoader(load_fn=partial(_headers, self))
        self.results = DataLoader(load_fn=partial(_results, self))
        self.values = DataLoader(load_fn=partial(_values, self))
        self._raws = DataLoader(load_fn=partial(_raws, self))

    async def raw(self, header: Header) -> bytes:
        """Return the raw document of a sample.

        Raises `TooLarge` where one operation asks for more than the largest sample could have.
        """
        self._raw_bytes += header.byte_count
        if self._raw_bytes > self.receiver.largest_bytes:
            raise TooLarge(
                f"one request may read {self.receiver.largest_bytes:,} bytes of raw documents; ask for fewer samples"
            )
        return await self._raws.load(header.id)


Info = strawberry.Info[Context, None]


async def _raws(context: Context, ids: Sequence[str]) -> Sequence[bytes]:
    return [(await context.store.raw(context.caller.submitter, sample_id))[1] for sample_id in ids]


async def _values(context: Context, ids: Sequence[str]) -> Sequence[Sequence[float]]:
    values = []
    for header in await context.headers.load_many(ids):
        assert header is not None
        raw = await context.raw(header)
        values.append((await asyncio.to_thread(payload.read, raw, header.default_time_zone())).data)
    return values


async def _headers(context: Context, ids: Sequence[str]) -> Sequence[Header | None]:
    found = await context.store.headers(context.caller.submitter, ids)
    return [found.get(sample_id) for sample_id in ids]


async def _results(context: Context, ids: Sequence[str]) -> Sequence[Result | None]:
    found = await context.store.results(context.caller.submitter, ids)
    return [found.get(sample_id) for sample_id in ids]
