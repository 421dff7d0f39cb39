"""What resolvers work with: who is asking, and the services of the process.

One context serves one operation: its loaders join the reads that one level of a query needs into one call.
Most operations read nothing, so a loader is made when it is asked for.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import strawberry
from strawberry.dataloader import DataLoader

from documents import Header, Result, TooLarge, payload
from graphql_api.auth import Caller
from graphql_api.live import Live
from graphql_api.receiving import Receiver
from graphql_api.recomputing import Recomputer
from graphql_api.store import Store


@dataclass
class Context:
    """The caller and the services; the loaders give documents of the caller's by sample id."""

    caller: Caller
    store: Store
    live: Live
    receiver: Receiver
    recomputer: Recomputer
    _raw_bytes = 0

    @cached_property
    def headers(self) -> DataLoader[str, Header | None]:
        """Load headers."""
        return DataLoader(load_fn=partial(_headers, self))

    @cached_property
    def results(self) -> DataLoader[str, Result | None]:
        """Load results, COMPUTED and FAILED."""
        return DataLoader(load_fn=partial(_results, self))

    @cached_property
    def values(self) -> DataLoader[str, Sequence[float]]:
        """Load the values of samples."""
        return DataLoader(load_fn=partial(_values, self))

    @cached_property
    def _raws(self) -> DataLoader[str, bytes]:
        return DataLoader(load_fn=partial(_raws, self))

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
