"""A change whose request ends early. The audit log has an entry about the change in any case."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import grpc
import pytest

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.key_manager import KeyManager
from graphql_api.auth.key_store import KeyStore
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.configuration.limits import KeyLimits
from graphql_api.ingest.submitter_settings import SubmitterSettings
from graphql_api.results.deletion.deleter import Deleter
from graphql_api.results.deletion.deletion_store import DeletionStore
from graphql_api.results.filters import EVERYTHING
from graphql_api.results.recomputation.recomputation_store import RecomputationStore
from graphql_api.results.recomputation.recomputer import Recomputer
from graphql_api.results.store import Store
from graphql_api.scopes import Scope
from storage.documents import Retention
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

SUBMITTER = "interrupted"
SCOPES = frozenset({Scope.READ})


class Administration:
    """Everything that changes the data of a submitter and belongs in its audit log."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        turns = LoopTurns()
        self.request: asyncio.Task[Any] | None = None
        self.writes = 0
        self.firestore = firestore
        self.writer = writer
        self.audit_log = AuditLog(firestore, writer, turns)
        self.keys = KeyManager(KeyStore(firestore, writer, self.audit_log, turns), self.audit_log)
        self.settings = SubmitterSettings(firestore, Retention())
        store = Store(firestore, turns, shards=1)
        self.deleter = Deleter(store, DeletionStore(firestore, writer))
        self.recomputer = Recomputer(store, RecomputationStore(firestore, writer))

    def entry(self, action: str, job: str = "") -> Any:
        """Return an entry."""
        return self.audit_log.entry(SUBMITTER, actor="test", action=action, facts=AuditFacts(change=job))

    async def interrupt(self, change: Awaitable[object]) -> None:
        """Cancel the request of a change before its second write."""
        self.request, self.writes = asyncio.ensure_future(change), 0
        with contextlib.suppress(asyncio.CancelledError):
            await self.request

    def counting(self, write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return `write`, which cancels the request instead if it is the second write of the request."""

        async def write_once(*arguments: Any) -> Any:
            if asyncio.current_task() is self.request:
                self.writes += 1
                if self.writes > 1:
                    raise asyncio.CancelledError
            return await write(*arguments)

        return write_once

    async def actions(self) -> list[str]:
        """Return the actions in the audit log, the newest first."""
        return [entry.action for entry in await self.audit_log.read(SUBMITTER, 100)]


@pytest.fixture
async def administration(own_firestore: Firestore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Administration]:
    """The administration of a stack."""
    administration = Administration(own_firestore, GroupCommitWriter(own_firestore, timeout_seconds=30))
    for sender, method in ((administration.firestore, "commit"), (administration.writer, "write_all")):
        monkeypatch.setattr(sender, method, administration.counting(getattr(sender, method)))
    yield administration
    await administration.recomputer.close()
    await administration.deleter.close()
    await administration.writer.close()


async def test_each_change_of_a_key_has_an_entry(administration: Administration) -> None:
    """A rotation creates a key and changes another one."""
    manager = administration.keys
    limits = KeyLimits(name="limited", requests_per_second=5)
    _, selected = await manager.create(SUBMITTER, SCOPES, limits=limits)
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "key.created": partial(manager.create, SUBMITTER, SCOPES),
        "key.limits_changed": partial(manager.set_limits, selected, {"requests_per_second": 3}),
        "key.revoked": partial(manager.revoke, selected),
    }

    for action, change in changes.items():
        await administration.interrupt(change())
        assert (await administration.actions())[0] == action
    assert (await manager.select_one(selected[0]))[1].revoked is not None


async def test_a_change_is_repeated_if_the_response_of_firestore_is_lost(
    administration: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same writes are applied twice. Otherwise, the secret of a stored key would be lost."""
    commit, calls = administration.firestore._commit, 0

    async def lose_first_response(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        response = await commit(*arguments, **options)
        if calls == 1:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
        return response

    before = await administration.actions()
    monkeypatch.setattr(administration.firestore, "_commit", lose_first_response)

    _, selected = await administration.keys.create(SUBMITTER, SCOPES)
    _, following = await administration.keys.rotate(selected, timedelta())

    assert calls == 3
    assert (await administration.keys.select_one(following[0]))[1].revoked is None
    assert await administration.actions() == ["key.rotated", "key.created", "key.created", *before]


async def test_an_interrupted_rotation_is_stored_as_a_whole(administration: Administration) -> None:
    """One Commit stores the new key, the end of the earlier key, and both entries."""
    manager = administration.keys
    _, selected = await manager.create(SUBMITTER, SCOPES)

    await administration.interrupt(manager.rotate(selected, timedelta()))

    assert (await administration.actions())[:2] == ["key.rotated", "key.created"]
    assert (await manager.select_one(selected[0]))[1].expires is not None


async def test_each_change_of_a_setting_has_an_entry(administration: Administration) -> None:
    """Also if the client does not wait for the response."""
    settings, entry = administration.settings, administration.entry
    await administration.interrupt(settings.set_retention(SUBMITTER, Retention(1), entry("retention.changed")))
    assert (await administration.actions())[0] == "retention.changed"
    change = settings.set_skips_missing(SUBMITTER, entry("missing_values.changed"), skips_missing=True)
    await administration.interrupt(change)
    assert (await administration.actions())[0] == "missing_values.changed"


async def test_each_job_has_an_entry(administration: Administration) -> None:
    """A job continues after its request has ended."""
    deletion = administration.deleter.delete_ids(SUBMITTER, [], "", partial(administration.entry, "samples.deleted"))
    await administration.interrupt(deletion)
    assert (await administration.actions())[0] == "samples.deleted"
    make_entry = partial(administration.entry, "results.recomputed")
    await administration.interrupt(administration.recomputer.recompute_outdated(SUBMITTER, EVERYTHING, make_entry))
    assert (await administration.actions())[0] == "results.recomputed"
