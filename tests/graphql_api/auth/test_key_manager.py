"""Changes of one key by two users at the same time, and keys that are refused."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from graphql_api.auth import key_manager, key_store
from graphql_api.auth.api_keys import new_key
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.key_manager import KeyManager
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.secret_text import SHOWN_DIGITS, digest
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.configuration.limits import KeyLimits
from graphql_api.scopes import Scope
from storage.documents import RateLimited, Unavailable
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Write
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

SCOPES = frozenset({Scope.READ})
EXPIRED = timedelta(days=-1)


class Keys(NamedTuple):
    """The keys of a stack, and its audit log."""

    store: KeyStore
    manager: KeyManager
    audit_log: AuditLog


@pytest.fixture
async def keys(own_firestore: Firestore) -> AsyncIterator[Keys]:
    """The keys of a stack."""
    writer = GroupCommitWriter(own_firestore, timeout_seconds=30)
    audit_log = AuditLog(own_firestore, writer, LoopTurns())
    store = KeyStore(own_firestore, writer, audit_log, LoopTurns())
    yield Keys(store, KeyManager(store, audit_log), audit_log)
    await writer.close()


async def test_a_list_of_all_keys_says_which_keys_exist(keys: Keys) -> None:
    """An address with too many unknown keys may still read these keys."""
    secret, _ = await keys.manager.create("is-listed", SCOPES)

    assert await keys.store.was_stored(secret)
    assert not await keys.store.was_stored(new_key())


async def test_too_many_keys_are_not_listed(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list would take too long."""
    monkeypatch.setattr(key_store, "_MAX_LISTED_KEYS", 1)
    secrets = [(await keys.manager.create("has-two", SCOPES))[0] for _ in range(2)]

    assert not any([await keys.store.was_stored(secret) for secret in secrets])


@pytest.mark.parametrize("lifetime", [None, timedelta(days=30)])
async def test_a_repeated_rotation_keeps_the_lifetime(keys: Keys, lifetime: timedelta | None) -> None:
    """A client repeats a rotation if it has lost the response with the new key."""
    manager = keys.manager
    _, selected = await manager.create("rotates-again", SCOPES, lifetime=lifetime)

    for _ in range(3):
        _, (_, replacement) = await manager.rotate(selected, timedelta(days=7))
        selected = await manager.select_one(selected[0])

        assert replacement.expires == (None if lifetime is None else replacement.created + lifetime)
        assert selected[1].expires is not None
        assert selected[1].expires < replacement.created + timedelta(days=8)


async def test_a_rotation_does_not_undo_a_revocation(keys: Keys) -> None:
    """One user revokes the key after another one has selected it for a rotation."""
    manager = keys.manager
    _, selected = await manager.create("both-change", frozenset({Scope.READ}))
    await manager.revoke(selected)

    await manager.rotate(selected, timedelta(days=7))

    _, stored = await manager.select_one(selected[0])
    assert stored.revoked is not None
    assert stored.expires is not None


async def test_the_limits_of_many_keys_change_in_several_commits(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of all keys would delay other submitters. Each key and its entry of the audit log are in one commit."""
    monkeypatch.setattr(key_manager, "MAX_COMMIT_KEYS", 2)
    sizes, commit = [], keys.store.commit

    async def counted(writes: Sequence[Write]) -> None:
        sizes.append(len(writes))
        await commit(writes)

    _, selected = await keys.manager.create("has-replacements", SCOPES, limits=KeyLimits(name="shared"))
    for _ in range(4):
        await keys.manager.rotate(selected, timedelta(days=7))
    monkeypatch.setattr(keys.store, "commit", counted)

    changed = await keys.manager.set_limits(selected, {"requests_per_second": 7})

    stored = await keys.manager.select(submitter="has-replacements")
    assert sizes == [4, 4, 2]
    assert len(changed) == len(stored) == 5
    assert {each.limits.requests_per_second for _, each in stored if each.limits is not None} == {7}


async def test_a_repeated_call_removes_the_limits_of_the_other_keys(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the limits of the selected key name the keys that share them, so these limits are removed last."""
    monkeypatch.setattr(key_manager, "MAX_COMMIT_KEYS", 1)
    commit = keys.store.commit

    async def commit_once(writes: Sequence[Write]) -> None:
        monkeypatch.setattr(keys.store, "commit", fail)
        await commit(writes)

    async def fail(_: Sequence[Write]) -> None:
        monkeypatch.setattr(keys.store, "commit", commit)
        raise Unavailable("the database does not respond")

    _, created = await keys.manager.create(
        "removes-limits", SCOPES, limits=KeyLimits(name="shared", requests_per_second=7)
    )
    for _ in range(2):
        await keys.manager.rotate(created, timedelta(days=7))
    first, *_ = await keys.manager.select(submitter="removes-limits")
    monkeypatch.setattr(keys.store, "commit", commit_once)

    with pytest.raises(Unavailable):
        await keys.manager.set_limits(first, {})
    await keys.manager.set_limits(await keys.manager.select_one(first[0]), {})

    stored = await keys.manager.select(submitter="removes-limits")
    assert [each.limits for _, each in stored] == [None] * 3


async def test_a_submitter_with_too_many_valid_keys_cannot_create_more(keys: Keys) -> None:
    """Neither by a rotation. Keys of other submitters do not count, and a revoked key makes room."""
    manager = KeyManager(keys.store, keys.audit_log, max_keys=2)
    _, first = await manager.create("collects", SCOPES)
    _, second = await manager.create("collects", SCOPES)
    await manager.create("collects-too", SCOPES)

    with pytest.raises(RateLimited, match="at most 2 valid keys"):
        await manager.create("collects", SCOPES)
    with pytest.raises(RateLimited, match="at most 2 valid keys"):
        await manager.rotate(first, timedelta(days=1))
    await manager.revoke(first)
    _, third = await manager.create("collects", SCOPES)

    assert {key_digest for key_digest, _ in await manager.select(submitter="collects")} == {second[0], third[0]}


async def test_a_new_key_replaces_only_the_oldest_ended_key(keys: Keys) -> None:
    """Later ended keys stay, so the audit log can still name them when a client sends them."""
    manager = KeyManager(keys.store, keys.audit_log, max_keys=4)
    created = [(await manager.create("rotates", SCOPES, lifetime=life))[1] for life in (None, EXPIRED, EXPIRED, None)]
    await manager.revoke(created[0])

    await manager.create("rotates", SCOPES)

    left = {key_digest for key_digest, _ in await manager.select(submitter="rotates")}
    assert left > {key_digest for key_digest, _ in created[1:]}
    assert created[0][0] not in left


async def test_damaged_keys_are_not_replaced_by_ended_keys(keys: Keys, own_firestore: Firestore) -> None:
    """They count towards the limit. Many of them deleted ended keys for which there was room."""
    manager = KeyManager(keys.store, keys.audit_log, max_keys=5)
    created = [(await manager.create("damages", SCOPES, lifetime=EXPIRED))[1] for _ in range(3)]
    damaged = [own_firestore.name(f"api_keys/damaged-{number}") for number in range(3)]
    await own_firestore.commit([encoding.to_write(name, {"submitter": "damages"}) for name in damaged])

    _, new = await manager.create("damages", SCOPES)

    left = {key_digest for key_digest, _ in await manager.select(submitter="damages")}
    assert left == {new[0], *(key_digest for key_digest, _ in created)}


async def test_an_operator_can_create_more_keys(keys: Keys) -> None:
    """The limit is for clients. A submitter with a thousand devices may need more keys."""
    limited = KeyManager(keys.store, keys.audit_log, max_keys=1)
    await limited.create("has-an-operator", SCOPES)

    await keys.manager.create("has-an-operator", SCOPES)

    assert len(await keys.manager.select(submitter="has-an-operator")) == 2


async def test_a_refused_key_is_in_the_audit_log_once_a_day(keys: Keys) -> None:
    """However often a client sends it. A key that is unknown belongs to no submitter, so it is in no log."""
    started = datetime.now(UTC)
    revoked, selected = await keys.manager.create("refuses", frozenset({Scope.READ}), "old pump")
    await keys.manager.revoke(selected)
    expired, _ = await keys.manager.create("refuses", frozenset({Scope.READ}), lifetime=timedelta(days=-1))

    for key in (revoked, expired, new_key(), revoked, expired, revoked):
        assert await keys.store.find(key) is None
    await keys.audit_log.wait()

    entries = await keys.audit_log.read("refuses", 10)
    refused = [(entry.actor, entry.details) for entry in entries if entry.action == "key.refused"]
    names = [f"key {digest(key)[:SHOWN_DIGITS]}" for key in (revoked, expired)]
    expected = [(names[0], f'{names[0]} "old pump": revoked'), (names[1], f"{names[1]}: expired")]
    assert sorted(set(refused)) == sorted(expected)
    days = 1 + (datetime.now(UTC).date() - started.date()).days
    assert len(refused) <= 2 * days
