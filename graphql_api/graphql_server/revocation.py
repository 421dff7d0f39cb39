"""Detects that a credential is revoked or expires while a stream or WebSocket is open."""

import asyncio
from collections.abc import Awaitable, Callable

from graphql_api.graphql_server.requests.request_headers import Credential
from storage.documents.errors import DropzoneError, RetryLater


async def wait_until_refused(
    authenticate: Callable[[Credential], Awaitable[object]], credential: Credential, seconds: float
) -> DropzoneError:
    """Validate a credential every `seconds` until it is refused. Return the error.

    While the credential cannot be validated, for example because Firestore is unavailable, it counts as valid.
    """
    check = credential._replace(is_check=True)
    while True:
        await asyncio.sleep(seconds)
        try:
            await authenticate(check)
        except RetryLater:
            continue
        except DropzoneError as error:
            return error
