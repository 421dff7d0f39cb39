"""What resolvers work with: who is asking, and the services of the process.

One context serves one operation: its loaders join the reads that one level of a query needs into one call. A
subscription forgets what they have read before each of its events.
Most operations read nothing, so a loader is made when it is asked for.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import strawberry
from strawberry.dataloader import DataLoader

from graphql_api.auth.scopes import Caller
from graphql_api.ingest.receiver import Receiver
from graphql_api.live.live_results import LiveResults
from graphql_api.results.recomputer import Recomputer
from graphql_api.results.store import Store
from storage.documents import Header, Result, TooLarge
from storage.documents.validation import payload


@dataclass
class Context:
    """The caller and the services; the loaders give documents of the caller's by sample id."""

    caller: Caller
    store: Store
    live: LiveResults
    receiver: Receiver
    recomputer: Recomputer

    def __post_init__(self) -> None:
        """Nothing has been read."""
        self._charged: set[str] = set()
        self._raw_bytes = 0

    def forget(self) -> None:
        """Read everything anew from now on, as each event of a subscription does: it may last for weeks."""
        for loader in _LOADERS:
            self.__dict__.pop(loader, None)
        self._charged.clear()
        self._raw_bytes = 0

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
        if header.id not in self._charged:  # a field may be resolved again, and two fields read the same bytes
            if self._raw_bytes + header.byte_count > self.receiver.max_sample_bytes:
                most = f"{self.receiver.max_sample_bytes:,} bytes"
                raise TooLarge(f"one request may read {most} of raw documents; ask for fewer samples")
            self._charged.add(header.id)
            self._raw_bytes += header.byte_count
        return await self._raws.load(header.id)


_LOADERS = [name for name, member in vars(Context).items() if isinstance(member, cached_property)]
Info = strawberry.Info[Context, None]
T = TypeVar("T")


async def _raws(context: Context, ids: Sequence[str]) -> Sequence[bytes | Exception]:
    return [await _or_error(_raw(context, sample_id)) for sample_id in ids]


async def _raw(context: Context, sample_id: str) -> bytes:
    return (await context.store.raw(context.caller.submitter, sample_id))[1]


async def _values(context: Context, ids: Sequence[str]) -> Sequence[Sequence[float] | Exception]:
    return [await _or_error(_value(context, header)) for header in await context.headers.load_many(ids)]


async def _value(context: Context, header: Header | None) -> Sequence[float]:
    assert header is not None
    raw = await context.raw(header)
    return (await asyncio.to_thread(payload.read, raw, header.default_time_zone())).data


async def _or_error(loading: Awaitable[T]) -> T | Exception:
    """Return what a loader takes for one key: what one sample raises is no fault of the others."""
    try:
        return await loading
    except Exception as error:  # noqa: BLE001 - the loader raises it where this sample is asked for
        return error


async def _headers(context: Context, ids: Sequence[str]) -> Sequence[Header | None]:
    found = await context.store.headers(context.caller.submitter, ids)
    return [found.get(sample_id) for sample_id in ids]


async def _results(context: Context, ids: Sequence[str]) -> Sequence[Result | None]:
    found = await context.store.results(context.caller.submitter, ids)
    return [found.get(sample_id) for sample_id in ids]
