"""The context of resolvers: the caller of an operation, and the services of the process.

One context serves one operation. Its loaders join the reads of one level of a query into one call. Most operations
read nothing, so a loader is created when it is first used. A subscription clears the loaders before each event.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeVar

import strawberry
from strawberry.dataloader import DataLoader

from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.scopes import Caller
from graphql_api.ingest.receiver import Receiver
from graphql_api.live.live_results import LiveResults
from graphql_api.results.recomputer import Recomputer
from graphql_api.results.store import Store
from storage.documents import Header, Result, TooLarge
from storage.documents.validation import payload

T = TypeVar("T")


class Services(Protocol):
    """The services that resolvers use. They exist once the process has started."""

    authenticator: Authenticator
    live: LiveResults
    receiver: Receiver
    recomputer: Recomputer
    store: Store


@dataclass
class Context:
    """The caller, the services, and loaders that read documents of the caller by sample id."""

    caller: Caller
    store: Store
    live: LiveResults
    receiver: Receiver
    recomputer: Recomputer
    _read_samples: set[str] = field(default_factory=set)
    """The samples whose raw documents count towards `_raw_bytes`."""
    _raw_bytes: int = 0

    @classmethod
    async def create(cls, services: Services, credential: str | None) -> "Context":
        """Return the context of one operation of the caller with `credential`. Raises `Unauthenticated`."""
        caller = await services.authenticator.authenticate(credential)
        return cls(caller, services.store, services.live, services.receiver, services.recomputer)

    def clear_loaders(self) -> None:
        """Read everything again from now on, so that a long subscription returns no stale documents."""
        for name in _LOADERS:
            self.__dict__.pop(name, None)
        self._read_samples.clear()
        self._raw_bytes = 0

    @cached_property
    def headers(self) -> DataLoader[str, Header | None]:
        """Load headers. A sample that does not exist is None."""
        return DataLoader(load_fn=self._load_headers)

    @cached_property
    def results(self) -> DataLoader[str, Result | None]:
        """Load results, COMPUTED and FAILED. A result that does not exist is None."""
        return DataLoader(load_fn=self._load_results)

    @cached_property
    def values(self) -> DataLoader[str, Sequence[float]]:
        """Load the values of samples."""
        return DataLoader(load_fn=self._load_values)

    @cached_property
    def _raw_documents(self) -> DataLoader[str, bytes]:
        return DataLoader(load_fn=self._load_raw_documents)

    async def raw(self, header: Header) -> bytes:
        """Return the raw document of a sample.

        Raises `TooLarge` if the raw documents of one operation exceed the maximum size of a sample.
        """
        if header.id not in self._read_samples:  # two fields can read the same document
            max_bytes = self.receiver.max_sample_bytes
            if self._raw_bytes + header.byte_count > max_bytes:
                raise TooLarge(f"one request can read up to {max_bytes:,} bytes of raw documents; read fewer samples")
            self._read_samples.add(header.id)
            self._raw_bytes += header.byte_count
        return await self._raw_documents.load(header.id)

    async def _load_headers(self, ids: list[str]) -> Sequence[Header | None]:
        headers = await self.store.headers(self.caller.submitter, ids)
        return [headers.get(sample_id) for sample_id in ids]

    async def _load_results(self, ids: list[str]) -> Sequence[Result | None]:
        results = await self.store.results(self.caller.submitter, ids)
        return [results.get(sample_id) for sample_id in ids]

    async def _load_values(self, ids: list[str]) -> Sequence[Sequence[float] | BaseException]:
        return [await _result_or_error(self._values(header)) for header in await self.headers.load_many(ids)]

    async def _values(self, header: Header | None) -> Sequence[float]:
        assert header is not None
        raw = await self.raw(header)
        return (await asyncio.to_thread(payload.read, raw, header.default_time_zone())).data

    async def _load_raw_documents(self, ids: list[str]) -> Sequence[bytes | BaseException]:
        return [await _result_or_error(self._raw_document(sample_id)) for sample_id in ids]

    async def _raw_document(self, sample_id: str) -> bytes:
        return (await self.store.raw(self.caller.submitter, sample_id))[1]


_LOADERS = [name for name, member in vars(Context).items() if isinstance(member, cached_property)]
Info = strawberry.Info[Context, None]


async def _result_or_error(loading: Awaitable[T]) -> T | BaseException:
    """Return the value of one key, or its exception, which a loader raises for this key only."""
    try:
        return await loading
    except Exception as error:  # noqa: BLE001 - the loader raises it
        return error
