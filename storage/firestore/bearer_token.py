"""The bearer token for a Firestore on this machine.

Google's emulator refuses calls without the bearer token `owner`. If `DROPZONE_FIRESTORE_TOKEN` is set, the embedded
Firestore refuses calls without this token.
"""

from collections.abc import Mapping

_VARIABLE = "DROPZONE_FIRESTORE_TOKEN"
_EMULATOR_TOKEN = "owner"  # noqa: S105 - not a secret


def bearer_token(environ: Mapping[str, str]) -> str:
    """Return the token in an environment, or that of the emulator. Raises `ValueError` if gRPC cannot send it."""
    token = environ.get(_VARIABLE) or _EMULATOR_TOKEN
    if not token.isascii() or not token.isprintable():
        raise ValueError(f"{_VARIABLE} must have printable ASCII characters only, because gRPC sends it")
    return token
