"""Creates, changes, rotates and revokes API keys, and records each change in the audit log.

The command line and the API use this module.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain

from graphql_api.auth.api_keys import ApiKey, limits_fields, new_key
from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.secret_text import SHOWN_DIGITS, digest
from graphql_api.budgets.budget import RETRY_SECONDS, refusal
from graphql_api.configuration.limits import KeyLimits
from graphql_api.scopes import Scope
from storage.documents import BadRequest, NotFound
from storage.documents.problems import echo
from storage.firestore.messages import Write

MIN_DIGITS, MAX_DIGITS = 8, 64
_DIGEST_PREFIX = re.compile(rf"[0-9a-fA-F]{{{MIN_DIGITS},{MAX_DIGITS}}}")
MAX_COMMIT_KEYS = 50
"""One Commit changes the limits of at most this number of keys.

With the 1,000 keys that a submitter can have, one Commit delayed a submit of another submitter by 630 to 870 ms.
Now it is 140 to 190 ms.
"""
OPERATOR = "operator"
"""The actor of commands on the command line. A command is authorized by its access to Firestore."""

StoredKey = tuple[str, ApiKey]
"""The digest and the stored document of a key."""


def is_digest_prefix(text: str) -> bool:
    """Return whether `text` can select a key: the start of a digest. Firestore refuses some other texts as ids."""
    return _DIGEST_PREFIX.fullmatch(text) is not None


class KeyManager:
    """Changes keys. `actor` is the credential that asks for the change.

    With `max_keys`, `create` and `rotate` refuse to create more keys for a submitter.
    """

    def __init__(self, store: KeyStore, audit_log: AuditLog, max_keys: int | None = None) -> None:
        self._store = store
        self._audit_log = audit_log
        self._max_keys = max_keys

    async def create(
        self,
        submitter: str,
        scopes: frozenset[Scope],
        label: str = "",
        lifetime: timedelta | None = None,
        *,
        limits: KeyLimits | None = None,
        actor: str = OPERATOR,
    ) -> tuple[str, StoredKey]:
        """Create a key. Return the key with its stored document, which does not contain the key itself.

        Raises `RateLimited` if the submitter has too many valid keys.
        """
        await self._make_room(submitter)
        key, stored = _generate(submitter, scopes, label, lifetime, limits)
        await self.store(key, stored, actor=actor)
        return key, (digest(key), stored)

    async def _make_room(self, submitter: str) -> None:
        """Delete the oldest revoked and expired keys of a submitter, so that it has fewer than `max_keys` keys."""
        max_keys = self._max_keys
        if max_keys is None or await self._store.count(submitter) < max_keys:
            return
        keys, now = await self._store.read_all(submitter), datetime.now(UTC)
        ended = sorted(
            (api_key.created, key_digest) for key_digest, api_key in keys.items() if not api_key.is_valid_at(now)
        )
        if len(keys) - len(ended) >= max_keys:
            description = f"a submitter has at most {max_keys:,} valid keys; revoke keys that are not used"
            raise refusal("max_api_keys_per_submitter", description, RETRY_SECONDS)
        for _, key_digest in ended[: max(0, len(keys) - max_keys + 1)]:  # `keys` lacks damaged documents
            await self._store.delete(key_digest)

    async def store(self, key: str, stored: ApiKey, *, actor: str = OPERATOR) -> None:
        """Store a key that the caller has generated."""
        await self._store.commit(self._creation(key, stored, actor))

    def _creation(self, key: str, stored: ApiKey, actor: str) -> Sequence[Write]:
        entry = self._entry(stored, digest(key), "key.created", actor, _description(stored))
        return entry, self._store.creation(digest(key), stored)

    async def rotate(self, selected: StoredKey, overlap: timedelta, *, actor: str = OPERATOR) -> tuple[str, StoredKey]:
        """Replace the selected key with a new key that has the same label, scopes, limits and lifetime.

        The selected key expires after the overlap, or at its own expiry if that is earlier.
        """
        key_digest, old = selected
        if not old.is_valid_at(datetime.now(UTC)):
            raise BadRequest("the key is revoked or expired; create a new one")
        await self._make_room(old.submitter)
        key, stored = _generate(old.submitter, old.scopes, old.label, old.lifetime, old.limits)
        writes = [*self._creation(key, stored, actor)]
        ends = stored.created + overlap
        entry = self._entry(old, key_digest, "key.rotated", actor, f"replaced by {digest(key)[:SHOWN_DIGITS]}")
        changed: dict[str, object] = {"expires": ends if old.expires is None else min(ends, old.expires)}
        if old.rotated is None:
            changed |= {"rotated": stored.created, "expires_before_rotation": old.expires}
        await self._store.commit([*writes, entry, self._store.change(key_digest, **changed)])
        return key, (digest(key), stored)

    async def set_limits(
        self, selected: StoredKey, values: Mapping[str, int], *, actor: str = OPERATOR
    ) -> Sequence[StoredKey]:
        """Replace the limits of a key and of the keys that share them. Return these keys.

        The keys share one budget, so they need the same limits. If this method fails, some keys can have the new limits
        already, and a repeated call changes the others. Without `values`, the limits of the submitter apply.
        """
        key_digest, old = selected
        if not old.is_valid_at(datetime.now(UTC)):
            raise BadRequest("the key is revoked or expired; create a new one")
        name = key_digest[:SHOWN_DIGITS] if old.limits is None else old.limits.name
        limits = KeyLimits(name=name, **values) if values else None
        changed = []
        writes: list[Sequence[Write]] = []
        found = await self.select(submitter=old.submitter)
        # The selected key is the last one: a repeated call finds the other keys by the name of its limits.
        for other_digest, other in sorted(found, key=lambda stored: stored[0] == key_digest):
            if other_digest == key_digest or (other.limits is not None and other.limits.name == name):
                change = "limits of the submitter" if limits is None else f"limits {limits.description}"
                entry = self._entry(other, other_digest, "key.limits_changed", actor, change)
                writes.append([entry, self._store.change(other_digest, limits=limits_fields(limits))])
                changed.append((other_digest, replace(other, limits=limits)))
        for start in range(0, len(writes), MAX_COMMIT_KEYS):
            await self._store.commit(list(chain.from_iterable(writes[start : start + MAX_COMMIT_KEYS])))
        return changed

    async def current_limits(self, submitter: str, known: KeyLimits | None) -> KeyLimits | None:
        """Return the limits that a caller with the limits `known` has now. A cached caller can have earlier limits."""
        if known is None:
            return None
        keys = await self.select(submitter=submitter)
        return next((key.limits for _, key in keys if key.limits is not None and key.limits.name == known.name), None)

    async def revoke(self, selected: StoredKey, *, actor: str = OPERATOR) -> StoredKey:
        """Revoke a key, unless it is revoked already."""
        key_digest, stored = selected
        if stored.revoked is None:
            now = datetime.now(UTC)
            entry = self._entry(stored, key_digest, "key.revoked", actor)
            await self._store.commit([entry, self._store.change(key_digest, revoked=now)])
            stored = replace(stored, revoked=now)
        return key_digest, stored

    async def select(
        self, *, submitter: str | None = None, label: str | None = None, digest_prefix: str | None = None
    ) -> Sequence[StoredKey]:
        """Return the keys that match all given values. Some programs print digests in upper case."""
        return [
            (key_digest, api_key)
            for key_digest, api_key in (await self._store.read_all(submitter, (digest_prefix or "").lower())).items()
            if label in (None, api_key.label)
        ]

    async def select_one(self, digest_prefix: str, submitter: str | None = None) -> StoredKey:
        """Return the only key whose digest starts with this prefix. Raises `NotFound` or `BadRequest`."""
        if not is_digest_prefix(digest_prefix):
            expected = f"expected {MIN_DIGITS} to {MAX_DIGITS} hexadecimal digits from the start of the digest of a key"
            raise BadRequest(f"{expected}, got {echo(digest_prefix)}")
        selected = await self.select(digest_prefix=digest_prefix, submitter=submitter)
        if not selected:
            raise NotFound("no API key has this digest")
        if len(selected) > 1:
            raise BadRequest(f"{digest_prefix} is the prefix of {len(selected)} digests; use more digits")
        return selected[0]

    def _entry(self, stored: ApiKey, key_digest: str, action: str, actor: str, change: str | None = None) -> Write:
        facts = AuditFacts(key_digest=key_digest, label=stored.label, change=change)
        return self._audit_log.entry(stored.submitter, actor=actor, action=action, facts=facts)


def _generate(
    submitter: str, scopes: frozenset[Scope], label: str, lifetime: timedelta | None, limits: KeyLimits | None
) -> tuple[str, ApiKey]:
    """Return a new key and its document."""
    now = datetime.now(UTC)
    return new_key(), ApiKey(submitter, scopes, label, now, None if lifetime is None else now + lifetime, limits=limits)


def _description(stored: ApiKey) -> str:
    scopes = f"scopes {','.join(sorted(stored.scopes))}"
    return scopes if stored.limits is None else f"{scopes}, limits {stored.limits.description}"
