"""A random secret with a prefix and a checksum: the form of API keys and sessions.

The checksum is a CRC-32. The API refuses a secret with a wrong checksum without a read from Firestore.

Only the SHA-256 of a secret is stored. A secret has 256 random bits, so it cannot be computed from its SHA-256.
A stolen database therefore contains no usable secret.
"""

import re
import secrets
from hashlib import sha256
from zlib import crc32

SHOWN_DIGITS = 12
"""The number of digits of a digest in messages and in printed lists."""

_SECRET_BYTES = 32
_FORM = re.compile(r"([a-z]+_)([A-Za-z0-9_-]{43})([0-9a-f]{8})", re.ASCII)
"""A prefix, the secret in base64url, and the checksum of the secret in hexadecimal."""


def new_secret(prefix: str) -> str:
    """Return a new random secret. It is never stored."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return prefix + secret + _checksum(secret)


def is_secret(text: str, prefix: str) -> bool:
    """Return whether `text` has the form of a secret with this prefix, and a correct checksum."""
    form = _FORM.fullmatch(text)
    return form is not None and form[1] == prefix and _checksum(form[2]) == form[3]


def digest(secret: str) -> str:
    """Return the SHA-256 of `secret` in hexadecimal. It is the id of the stored document."""
    return sha256(secret.encode()).hexdigest()


def _checksum(secret: str) -> str:
    return f"{crc32(secret.encode()):08x}"
