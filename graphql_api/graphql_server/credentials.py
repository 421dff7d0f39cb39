"""The credential that a request carries, as plain text; what it is worth is decided elsewhere, and may end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from storage.documents.errors import DropzoneError, Unavailable

Authenticate = Callable[[str | None], Awaitable[object]]
"""Makes the context of one operation from a credential, or raises `Unauthenticated`."""


async def refusal(authenticate: Authenticate, credential: str | None, seconds: float) -> DropzoneError:
    """Wait until a credential that was good is refused, asking every so many `seconds`; return the refusal.

    Where nobody can tell, as while Firestore is away, whoever was let in may stay.
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
    """Find the credential in `x-api-key`, or else in `Authorization: Bearer`."""
    bearer = None
    for name, value in headers:
        if name == b"x-api-key":
            return value.decode("latin-1")
        if name == b"authorization":
            bearer = _bearer(value.decode("latin-1"))
    return bearer


def from_payload(payload: Mapping[str, object]) -> str | None:
    """Find the credential in the payload of `connection_init`, where names come in any spelling."""
    given = {name.lower().replace("-", ""): value for name, value in payload.items()}
    for name in ("xapikey", "apikey"):
        if isinstance(value := given.get(name), str):
            return value
    authorization = given.get("authorization")
    return _bearer(authorization) if isinstance(authorization, str) else None


def _bearer(value: str) -> str | None:
    scheme, _, credential = value.partition(" ")
    return credential.strip() if scheme.lower() == "bearer" and credential.strip() else None
