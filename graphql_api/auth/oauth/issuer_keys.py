"""The signing keys of one identity provider.

The server reads the keys when the first token arrives. It reads them again when they are ten minutes old, or when a
token names an unknown key. Each read also reads the metadata again, because the provider may publish its keys at
another address. All requests share one read, and the server starts at most one read per `COOLDOWN_SECONDS`. If the
provider does not respond, the server uses the keys for up to a day.
"""

import asyncio
import logging
import time
import warnings
from collections.abc import Callable

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from graphql_api.auth.oauth.provider_metadata import (
    COOLDOWN_SECONDS,
    FRESH_SECONDS,
    MAX_AGE_SECONDS,
    ProviderError,
    ProviderMetadata,
)
from storage.documents import Unavailable

_MAX_KEYS = 100

PublicKey = RSAKey | ECKey | OKPKey

logger = logging.getLogger("graphql_api")


class IssuerKeys:
    """The keys of a provider, by key id."""

    def __init__(self, metadata: ProviderMetadata, clock: Callable[[], float] = time.monotonic) -> None:
        self.metadata = metadata
        self._clock = clock
        self._keys: dict[str | None, PublicKey] = {}
        self._read_at = float("-inf")
        self._next_read_at = float("-inf")
        self._has_read_failed = False
        """Whether the last read failed. The provider can then have keys that are not known."""
        self._read: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None) -> PublicKey | None:
        """Return the key with this id, or None if the provider has no such key.

        Without a key id, return the key of a provider with a single key. Raises `Unavailable` if the provider cannot be
        asked for the key now, or if all known keys are too old.
        """
        now = self._clock()
        key = self.known(key_id)
        if self._read is None and (key is None or now > self._read_at + FRESH_SECONDS) and now >= self._next_read_at:
            self._next_read_at = now + COOLDOWN_SECONDS
            self._read = asyncio.create_task(self._read_keys())
        if self._read is not None and key is None:
            await asyncio.shield(self._read)
            key = self.known(key_id)
        if (key is None and self._has_read_failed) or self._clock() > self._read_at + MAX_AGE_SECONDS:
            raise Unavailable("the keys of the identity provider cannot be read now; retry later", retry_after=30)
        return key

    def known(self, key_id: str | None) -> PublicKey | None:
        """Return the key with this id, or None if it was not read yet. Sends no request to the provider."""
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _read_keys(self) -> None:
        """Read the keys. If this fails, log why and keep the previous keys."""
        try:
            url = await self.metadata.endpoint("jwks_uri", fresh_seconds=0)
            keys = (await self.metadata.fetch(url)).get("keys")
            if not isinstance(keys, list):
                raise ProviderError(f"expected a list `keys` - at {url}")  # noqa: TRY301 - logged below
            usable = {key.kid: key for jwk in keys[:_MAX_KEYS] if (key := _public_key(jwk)) is not None}
            self._keys = dict(usable)
            self._read_at = self._clock()
            self._has_read_failed = False
        except ProviderError as error:
            self._has_read_failed = True
            logger.warning("the keys of the issuer %s cannot be read: %s", self.metadata.issuer, error)
        finally:
            self._read = None


def _public_key(jwk: object) -> PublicKey | None:
    """Return a key that may verify signatures. Return None for other keys, such as encryption keys and short keys."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # joserfc warns of an RSA key below 2,048 bits
            key = JWKRegistry.import_key(jwk)
    except (JoseError, Warning, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None
