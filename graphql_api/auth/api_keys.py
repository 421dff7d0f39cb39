"""An API key: a random secret with a checksum, and the stored document with its scopes and lifetime.

The checksum is a CRC-32. Without a correct checksum, the API refuses a key without a read from Firestore.

Only the SHA-256 of a key is stored. A key has 256 random bits, so the key cannot be computed from
its SHA-256. A stolen database therefore contains no usable key.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from zlib import crc32

from graphql_api.auth.scopes import Scope

KEY_PREFIX = "dz_"
_SECRET_BYTES = 32
_FORM = re.compile(rf"{KEY_PREFIX}([A-Za-z0-9_-]{{43}})([0-9a-f]{{8}})", re.ASCII)
"""A prefix, the secret in base64url, and the checksum of the secret in hexadecimal."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The stored document of a key. The document does not contain the key itself."""

    submitter: str
    scopes: frozenset[Scope]
    label: str
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
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
        """Read the fields of a stored document. Raises `TypeError` if they are not those of an API key."""
        created, expires, revoked = (_time(fields.get(name)) for name in ("created", "expires", "revoked"))
        scopes = fields["scopes"]
        if not isinstance(scopes, list) or created is None:
            raise TypeError("expected a stored API key with a list `scopes` and a time `created`")
        return cls(
            submitter=str(fields["submitter"]),
            scopes=frozenset(map(Scope, scopes)),
            label=str(fields["label"]),
            created=created,
            expires=expires,
            revoked=revoked,
        )

    def is_valid_at(self, time: datetime) -> bool:
        """Return whether the key is neither revoked nor expired at `time`."""
        return self.revoked is None and (self.expires is None or time < self.expires)


def new_key() -> str:
    """Return a new random key. The operator sees the key once; it is never stored."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return KEY_PREFIX + secret + _checksum(secret)


def is_key(text: str) -> bool:
    """Return whether `text` has the form of a key, and a correct checksum."""
    form = _FORM.fullmatch(text)
    return form is not None and _checksum(form[1]) == form[2]


def digest(key: str) -> str:
    """Return the SHA-256 of `key` in hexadecimal. It is the id of the stored document."""
    return sha256(key.encode()).hexdigest()


def _checksum(secret: str) -> str:
    return f"{crc32(secret.encode()):08x}"


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None
