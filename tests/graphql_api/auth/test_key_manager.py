"""Changes of one key by two users at the same time."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.key_manager import KeyManager
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.scopes import Scope
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from tests.stack import Stack


@pytest.fixture
async def manager(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KeyManager]:
    """The keys of a stack."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    firestore = Firestore.connect(timeout_seconds=30)
    writer = GroupCommitWriter(firestore, timeout_seconds=30)
    try:
        yield KeyManager(KeyStore(firestore, writer), AuditLog(firestore, writer))
    finally:
        await writer.close()
        await firestore.close()


async def test_a_rotation_does_not_undo_a_revocation(manager: KeyManager) -> None:
    """One user revokes the key after another one has selected it for a rotation."""
    _, selected = await manager.create("both-change", frozenset({Scope.READ}))
    await manager.revoke(selected)

    await manager.rotate(selected, timedelta(days=7))

    _, stored = await manager.select_one(selected[0])
    assert stored.revoked is not None
    assert stored.expires is not None
