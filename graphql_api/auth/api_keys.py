"""An API key: a secret that an operator creates, and the stored document with its scopes and lifetime."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from graphql_api.auth.secret_text import is_secret, new_secret
from graphql_api.configuration.limits import KeyLimits
from graphql_api.scopes import Scope
from storage.documents import labels
from storage.documents.stored_fields import read_optional_time

KEY_PREFIX = "dz_"
MAX_LABEL_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The stored document of a key. The document does not contain the key itself."""

    submitter: str
    scopes: frozenset[Scope]
    label: str
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    last_used: datetime | None = None
    """The start of the last day, in UTC, on which the key was used."""
    limits: KeyLimits | None = None
    rotated: datetime | None = None
    """When the key was rotated for the first time. A rotation can shorten the lifetime of the key."""
    expires_before_rotation: datetime | None = None
    """The value of `expires` before the first rotation."""

    @property
    def lifetime(self) -> timedelta | None:
        """The lifetime with which the key was created, or None if it was unlimited."""
        expires = self.expires if self.rotated is None else self.expires_before_rotation
        return None if expires is None else expires - self.created

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored document."""
        return {
            "submitter": self.submitter,
            "scopes": sorted(self.scopes),
            "label": self.label,
            "created": self.created,
            "expires": self.expires,
            "revoked": self.revoked,
            "last_used": self.last_used,
            "limits": limits_fields(self.limits),
            "rotated": self.rotated,
            "expires_before_rotation": self.expires_before_rotation,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "ApiKey":
        """Read the fields of a stored document. Raises `TypeError` if they are not an API key."""
        created, expires, revoked, last_used, rotated, expires_before_rotation = (
            read_optional_time(fields, name)
            for name in ("created", "expires", "revoked", "last_used", "rotated", "expires_before_rotation")
        )
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
            last_used=last_used,
            limits=_limits(fields.get("limits")),
            rotated=rotated,
            expires_before_rotation=expires_before_rotation,
        )

    def is_valid_at(self, time: datetime) -> bool:
        """Return whether the key is neither revoked nor expired at `time`."""
        return self.revoked is None and (self.expires is None or time < self.expires)

    def remaining_seconds(self) -> float:
        """Return the number of seconds for which the key stays valid. 0 if the key is not valid now."""
        now = datetime.now(UTC)
        if not self.is_valid_at(now):
            return 0.0
        return float("inf") if self.expires is None else (self.expires - now).total_seconds()


def limits_fields(limits: KeyLimits | None) -> dict[str, object] | None:
    """Return the field `limits` of the stored document."""
    return None if limits is None else asdict(limits)


def new_key() -> str:
    """Return a new random key. It is shown once, and never stored."""
    return new_secret(KEY_PREFIX)


def is_label(text: str) -> bool:
    """Return whether a new key can have this label. Each line of a list of keys contains a label."""
    return len(text) <= MAX_LABEL_CHARACTERS and labels.is_printable(text)


def is_key(text: str) -> bool:
    """Return whether `text` has the form of a key, and a correct checksum."""
    return is_secret(text, KEY_PREFIX)


def _limits(value: object) -> KeyLimits | None:
    """Return stored limits. Raises `TypeError` if they are damaged. The key would otherwise become unlimited."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"the `limits` of a stored API key are {type(value).__name__}, not an object")
    return KeyLimits(**value)
