"""The sender of events, and the secret that it shares with the function on one machine."""

import hashlib
import hmac
from typing import Protocol


class Sender(Protocol):
    """The sender whose events the function accepts."""

    async def accepts(self, token: bytes) -> bool:
        """Return whether `token` is a valid token of this sender. Raises `Unavailable` if it cannot be checked now."""
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
