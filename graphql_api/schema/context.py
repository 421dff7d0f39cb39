"""The context of resolvers: the caller of an operation, and the services of the process.

Each operation has its own context. A loader combines the reads of one level of a query into one call. The context
creates a loader on first use, because most operations read nothing. A subscription clears its loaders before each
event.

A loader does not refer to its context. The context is then freed as soon as its operation ends, without the garbage
collector.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from typing import Protocol, TypeVar

import strawberry
from graphql.pyutils import Path
from strawberry.dataloader import DataLoader

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller
from graphql_api.auth.key_manager import KeyManager
from graphql_api.budgets.allowance import Allowance
from graphql_api.budgets.budgets import Budgets, SubmitterBudget
from graphql_api.budgets.large_read import LargeRead
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES, Reservation
from graphql_api.errors import TooComplex
from graphql_api.graphql_server.requests.request_headers import Credential
from graphql_api.ingest.receiver import Receiver
from graphql_api.ingest.submitter_settings import SubmitterSettings
from graphql_api.live.live_results import LiveResults
from graphql_api.results.deletion.deleter import Deleter
from graphql_api.results.recomputation.recomputer import Recomputer
from graphql_api.results.store import Store
from observability import request_context
from storage.documents import FailedAttempts, Header, Result, TooLarge
from storage.documents.validation import payload
from storage.firestore.messages import Write

T = TypeVar("T")

_MAX_RESPONSE_COPIES = 2
_MAX_LIST_BYTES = 24 * 2**20
"""The size of all lists of a response, apart from submitted JSON. Copying it takes 20 ms.

20,000 time buckets with all fields have 16 MB.
"""
_MAX_COPIED_BYTES = 2**20
"""The size of submitted JSON that is encoded together with lists. Larger JSON would use too much memory."""


class Services(Protocol):
    """The services that resolvers use. The application creates the services when it starts."""

    audit_log: AuditLog
    authenticator: Authenticator
    budgets: Budgets
    key_manager: KeyManager
    live: LiveResults
    receiver: Receiver
    deleter: Deleter
    recomputer: Recomputer
    store: Store
    submitter_settings: SubmitterSettings


class Context:
    """The caller, the services, and loaders that read the caller's documents by sample id."""

    def __init__(self, caller: Caller, services: Services) -> None:
        self.caller = caller
        self.store = services.store
        self.live = services.live
        self.receiver = services.receiver
        self.deleter = services.deleter
        self.recomputer = services.recomputer
        self.budgets = services.budgets
        self.key_manager = services.key_manager
        self.audit_log = services.audit_log
        self.submitter_settings = services.submitter_settings
        self._large_read: LargeRead | None = None
        self._response: Reservation | None = None
        """The memory of a large response that is not sent."""

    @classmethod
    async def create(cls, services: Services, credential: Credential) -> "Context":
        """Return the context of one operation.

        Raises `Unauthenticated` if `credential` is not a valid key, and `Unavailable` if Firestore does not respond.
        """
        caller = await services.authenticator.authenticate(credential)
        request_context.set_submitter(caller.submitter)
        return cls(caller, services)

    def entry(self, action: str, facts: AuditFacts) -> Write:
        """Return the `Write` of an entry of the submitter's audit log. One Commit stores it and the change."""
        caller = self.caller
        return self.audit_log.entry(caller.submitter, actor=caller.credential, action=action, facts=facts)

    @property
    def budget(self) -> SubmitterBudget:
        """The budget of the submitter of the credential."""
        return self.budgets.charged(self.caller)

    @property
    def allowance(self) -> Allowance:
        """The allowance of the caller: the requests and samples that it may send."""
        return self.budgets.allowance(self.caller)

    def end_reads(self, response_bytes: int = 0) -> None:
        """Discard all loaded documents. The next event of a subscription therefore reads current documents.

        Reserve memory for the `response_bytes` that are not sent, if they are many. Raises `RateLimited` if the share
        of the submitter is exhausted, and `Unavailable` if the memory budget is.
        """
        for name in _LOADERS:
            self.__dict__.pop(name, None)
        if self._large_read is not None:
            self._large_read.end()
        if self._response is not None:
            self._response.release()
            self._response = None
        if response_bytes > MIN_RESERVED_BYTES:
            self._response = self.budgets.memory.new_reservation(self.budget.request_bytes)
            self._response.resize(response_bytes)

    def check_response(self, byte_count: int) -> None:
        """Raise `TooComplex` if lists of `byte_count` bytes are too large for a response."""
        if byte_count > _MAX_LIST_BYTES:
            raise TooComplex(
                f"the response has more than {_MAX_LIST_BYTES:,} bytes; select fewer fields or items, or use shorter "
                "aliases",
                limit="max_response_bytes",
            )

    def fields_with_documents(self) -> Collection[str]:
        """Return the root fields of the response that contain large submitted documents."""
        return () if self._large_read is None else self.raw_documents.root_fields

    @cached_property
    def headers(self) -> DataLoader[str, Header | None]:
        """Loads headers by sample id. The header of a sample that does not exist is None."""
        return DataLoader(load_fn=partial(_load, self.store.headers, self.caller.submitter))

    @cached_property
    def results(self) -> DataLoader[str, Result | None]:
        """Loads results of any status by sample id. A result that does not exist is None."""
        return DataLoader(load_fn=partial(_load, self.store.results, self.caller.submitter))

    @cached_property
    def failed_attempts(self) -> DataLoader[str, FailedAttempts | None]:
        """Loads the failed attempts to compute a sample by sample id. None if no attempt has failed."""
        return DataLoader(load_fn=partial(_load, self.store.failed_attempts, self.caller.submitter))

    @cached_property
    def values(self) -> DataLoader[str, Sequence[float]]:
        """Loads the values of samples by sample id."""
        in_thread = partial(self.receiver.validators.run, self.caller.submitter)
        return DataLoader(load_fn=partial(_load_values, self.headers, self.raw_documents, in_thread))

    @cached_property
    def raw_documents(self) -> "RawDocuments":
        """The raw documents that this operation reads."""
        if self._large_read is None:
            self._large_read = LargeRead(self.budgets, self.caller)
        max_bytes = self.receiver.max_sample_bytes
        return RawDocuments(self.store, self.caller.submitter, self._large_read, max_bytes=max_bytes)


class RawDocuments:
    """Loads the raw documents of samples for one operation, up to `max_bytes` in total.

    The response can contain each document twice: as `raw` and as `data`. Without a limit, a response could contain a
    document of 60 MiB hundreds of times.
    """

    def __init__(self, store: Store, submitter: str, large_read: LargeRead, *, max_bytes: int) -> None:
        self._loader = DataLoader(load_fn=partial(_load_raw_documents, store, submitter))
        self._max_bytes = max_bytes
        self._large_read = large_read
        self._bytes = self._response_bytes = 0
        self._counted: set[str] = set()
        self._parts: dict[tuple[str | int, ...], int] = {}
        """The bytes of each part of the response, by its path."""

    @property
    def root_fields(self) -> set[str]:
        """The root fields of the response with submitted JSON, or an empty set if this JSON is small."""
        return {str(path[0]) for path in self._parts} if self._response_bytes > _MAX_COPIED_BYTES else set()

    async def load(self, header: Header) -> tuple[Header, bytes]:
        """Return the raw document of a sample, and its header: an expired sample may have been replaced since.

        Raises `TooLarge` if the raw documents of one operation exceed the maximum size of a sample. Raises
        `RateLimited` if the share of the submitter is exhausted, and `Unavailable` if the memory budget is exhausted.
        """
        if header.id not in self._counted:  # count a document once, even if two fields read it
            if self._bytes + header.byte_count > self._max_bytes:
                raise TooLarge(
                    f"one request can read up to {self._max_bytes:,} bytes of submitted JSON; select fewer samples"
                )
            self._counted.add(header.id)
            self._bytes += header.byte_count
        # A resolver is called again if the plan of its operation has failed, so each call needs the reservation.
        await self._large_read.reserve(self._bytes, self._response_bytes)
        return await self._loader.load(header.id)

    async def add_to_response(self, path: Path, byte_count: int) -> None:
        """Reserve memory for the part of the response at `path`. Raises the same errors as `load`."""
        key = tuple(path.as_list())
        response_bytes = self._response_bytes + byte_count - self._parts.get(key, 0)
        if response_bytes > _MAX_RESPONSE_COPIES * self._max_bytes:
            raise TooLarge(
                f"one response can contain up to {_MAX_RESPONSE_COPIES * self._max_bytes:,} bytes of submitted JSON; "
                "select fewer fields"
            )
        self._parts[key], self._response_bytes = byte_count, response_bytes
        await self._large_read.reserve(self._bytes, response_bytes)


_LOADERS = [name for name, member in vars(Context).items() if isinstance(member, cached_property)]
Info = strawberry.Info[Context, None]

_InThread = Callable[[Callable[[], payload.Payload]], Awaitable[payload.Payload]]
"""Runs a function in a thread, one at a time for each submitter. Reading numbers holds the interpreter."""


async def _load(
    read: Callable[[str, Collection[str]], Awaitable[Mapping[str, T]]], submitter: str, ids: list[str]
) -> Sequence[T | None]:
    found = await read(submitter, ids)
    return [found.get(sample_id) for sample_id in ids]


async def _load_values(
    headers: DataLoader[str, Header | None], raw_documents: RawDocuments, in_thread: _InThread, ids: list[str]
) -> Sequence[Sequence[float] | BaseException]:
    return [
        await _result_or_error(_values(header, raw_documents, in_thread)) for header in await headers.load_many(ids)
    ]


async def _values(header: Header | None, raw_documents: RawDocuments, in_thread: _InThread) -> Sequence[float]:
    assert header is not None
    header, raw = await raw_documents.load(header)
    read = partial(payload.read, raw, header.default_time_zone(), skips_missing=header.missing_count > 0)
    return (await in_thread(read)).data


async def _load_raw_documents(
    store: Store, submitter: str, ids: list[str]
) -> Sequence[tuple[Header, bytes] | BaseException]:
    return [await _result_or_error(store.raw(submitter, sample_id)) for sample_id in ids]


async def _result_or_error(loading: Awaitable[T]) -> T | BaseException:
    """Await the value of one key. Return the value, or an exception. The loader raises it for this key only."""
    try:
        return await loading
    except Exception as error:  # noqa: BLE001 - the loader raises the error
        return error
