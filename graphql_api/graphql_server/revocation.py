"""Detects that a credential is revoked or expires while a stream or WebSocket is open."""

import asyncio
from collections.abc import Awaitable, Callable

from storage.documents.errors import DropzoneError, Unavailable

Authenticate = Callable[[str | None], Awaitable[object]]
"""Returns the context of one operation for a credential. Raises `Unauthenticated`."""


async def wait_until_refused(authenticate: Authenticate, credential: str | None, seconds: float) -> DropzoneError:
    """Validate a credential every `seconds` until it is refused. Return the error.

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
