"""The credential of a request: an API key or a bearer token, as plain text.

This module only finds credentials. The `Authenticate` function of the application validates them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from storage.documents.errors import DropzoneError, Unavailable

Authenticate = Callable[[str | None], Awaitable[object]]
"""Returns the context of one operation for a credential. Raises `Unauthenticated`."""


async def wait_until_refused(authenticate: Authenticate, credential: str | None, seconds: float) -> DropzoneError:
    """Validate a credential every `seconds` until it is refused; return the error.

    While Firestore is unavailable, the credential counts as valid.
    """
    while True:
        await asyncio.sleep(seconds)
        try:
            await authenticate(credential)
        except Unavailable:
            continue
        except DropzoneError as error:
            return error


def from_headers(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the credential in `x-api-key`, or else in `Authorization: Bearer`."""
    bearer = None
    for name, value in headers:
        if name == b"x-api-key":
            return value.decode("latin-1")
        if name == b"authorization":
            bearer = _bearer(value.decode("latin-1"))
    return bearer


def from_payload(payload: Mapping[str, object]) -> str | None:
    """Return the credential in the payload of `connection_init`, where clients spell names in several ways."""
    by_name = {name.lower().replace("-", ""): value for name, value in payload.items()}
    for name in ("xapikey", "apikey"):
        if isinstance(value := by_name.get(name), str):
            return value
    authorization = by_name.get("authorization")
    return _bearer(authorization) if isinstance(authorization, str) else None


def _bearer(value: str) -> str | None:
    scheme, _, credential = value.partition(" ")
    return credential.strip() if scheme.lower() == "bearer" and credential.strip() else None
