"""Checks that an event comes from its sender, by a secret that sender and function share on one machine."""

import hashlib
import hmac
from typing import Protocol


class EventAuthenticator(Protocol):
    """Checks the token of an event."""

    async def accepts(self, token: bytes) -> bool:
        """Return whether `token` is a valid token of the sender. Raises `Unavailable` if it cannot be checked now."""
        ...

    def proof(self, nonce: str) -> str | None:
        """Return a proof that this process knows the secret. Return None on Google Cloud."""
        ...


class SharedSecret:
    """Accepts events whose bearer token is the secret that this process and the sender share."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def accepts(self, token: bytes) -> bool:
        """Return whether `token` is the secret. The time of the comparison does not depend on `token`."""
        return hmac.compare_digest(token, self._secret)

    def proof(self, nonce: str) -> str:
        """Return the HMAC of `nonce`, so that a supervisor with the same secret recognizes this process."""
        return hmac.digest(self._secret, b"healthz:" + nonce.encode(), hashlib.sha256).hex()
