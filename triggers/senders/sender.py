"""The sender of events, and the secret that it shares with the function on one machine."""

import hashlib
import hmac
from typing import Protocol


class Sender(Protocol):
    """Decides whether a token proves that its sender may send events."""

    async def is_proved_by(self, token: bytes) -> bool:
        """Return whether `token` is valid. Raises `Unavailable` if that cannot be known."""
        ...

    def proof(self, nonce: str) -> str | None:
        """Return a text that proves that this process knows the secret, or None on Google Cloud."""
        ...


class SharedSecret:
    """The sender knows the same secret as this process."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def is_proved_by(self, token: bytes) -> bool:
        """Return whether `token` is the secret. The time of the comparison does not depend on `token`."""
        return hmac.compare_digest(token, self._secret)

    def proof(self, nonce: str) -> str:
        """Return the HMAC of `nonce`, so that a supervisor with the same secret recognizes this process."""
        return hmac.digest(self._secret, b"healthz:" + nonce.encode(), hashlib.sha256).hex()
