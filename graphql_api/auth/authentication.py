"""Who is asking: an API key -> a submitter and what it may do.

Only the SHA-256 of a key is stored. A key is 256 random bits, so a plain digest cannot be guessed back, and
a stolen database opens no door. What is known of a key is kept for a few seconds, so that not
every request costs a read; a revoked key works no longer than that. When it is forgotten, the requests under way
share one read.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256

from graphql_api.auth.key_store import KeyStore
from storage.documents import Forbidden, Unauthenticated

KEY_PREFIX = "dz_"
_MAX_KEY_CHARACTERS = 200
_MAX_CACHED_KEYS = 10_000


class Scope(StrEnum):
    """What a key may do."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant that a key stands for, and the key's scopes."""

    submitter: str
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raise `Forbidden` unless the key has `scope`."""
        if scope not in self.scopes:
            raise Forbidden(f"this key does not have the scope `{scope}`; ask your operator for one that has")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: never the key itself."""

    submitter: str
    scopes: frozenset[Scope]
    label: str
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def fields(self) -> dict[str, object]:
        """Return the key as it is stored."""
        return {
            "submitter": self.submitter,
            "scopes": sorted(self.scopes),
            "label": self.label,
            "created": self.created,
            "expires": self.expires,
            "revoked": self.revoked,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "ApiKey":
        """Read back what `fields` gave."""
        created, expires, revoked = (_instant(fields.get(name)) for name in ("created", "expires", "revoked"))
        scopes = fields["scopes"]
        if not isinstance(scopes, list) or created is None:
            raise TypeError("a stored API key has no scopes or no time of creation")
        return cls(
            submitter=str(fields["submitter"]),
            scopes=frozenset(map(Scope, scopes)),
            label=str(fields["label"]),
            created=created,
            expires=expires,
            revoked=revoked,
        )

    def is_good_at(self, moment: datetime) -> bool:
        """Tell whether the key is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or moment < self.expires)


def new_key() -> str:
    """Return a random key; it is shown once and never stored."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """Return the SHA-256 of `key` in hexadecimal, the name under which it is stored."""
    return sha256(key.encode()).hexdigest()


class Authenticator:
    """Knows callers by their keys."""

    def __init__(self, key_store: KeyStore, *, cache_seconds: float) -> None:
        self._key_store = key_store
        self._cache_seconds = cache_seconds
        self._cache: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()
        self._reads: dict[str, asyncio.Task[ApiKey | None]] = {}

    async def caller(self, key: str | None) -> Caller:
        """Return who `key` stands for.

        Raises `Unauthenticated` with one and the same message for a missing, unknown, expired or
        revoked key, and `Unavailable` where Firestore cannot be asked.
        """
        known = await self._known(key) if key else None
        if known is None or not known.is_good_at(datetime.now(UTC)):
            raise Unauthenticated("send a valid API key in the header x-api-key, or as Authorization: Bearer")
        return Caller(known.submitter, known.scopes)

    async def _known(self, key: str) -> ApiKey | None:
        if not key.startswith(KEY_PREFIX) or len(key) > _MAX_KEY_CHARACTERS or not key.isascii():
            return None
        name = digest(key)
        cached = self._cache.get(name)
        if cached is not None and time.monotonic() < cached[0]:
            return cached[1]
        reading = self._reads.get(name)
        if reading is None:
            reading = self._reads[name] = asyncio.create_task(self._read(name))
            reading.add_done_callback(lambda _: self._reads.pop(name))
        return await asyncio.shield(reading)  # whoever is cancelled leaves the others their answer

    async def _read(self, name: str) -> ApiKey | None:
        asked = time.monotonic()
        stored = await self._key_store.read(name)
        known = None if stored is None else ApiKey.from_fields(stored)
        self._cache[name] = (asked + self._cache_seconds, known)
        self._cache.move_to_end(name)
        if len(self._cache) > _MAX_CACHED_KEYS:
            self._cache.popitem(last=False)
        return known


def _instant(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None
