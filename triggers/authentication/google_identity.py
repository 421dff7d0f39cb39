"""Checks that an event comes from Eventarc on Google Cloud, which sends an identity token that Google has signed.

google-auth checks the signature of the token and its expiry. This module checks its audience and its service account.

Note: Google changes its keys every few days. The keys are therefore cached for as long as the response with the keys
allows, and fetched again if a token names an unknown key.
"""

import asyncio
import hashlib
import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import google.auth.exceptions
import google.auth.jwt
import google.auth.transport.requests

from storage.documents import Unavailable

CERTIFICATES_URL = "https://www.googleapis.com/oauth2/v1/certs"
ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
MAX_CLOCK_SKEW_SECONDS = 10
MAX_KNOWN_TOKENS = 100
"""The number of tokens in the cache. Eventarc uses a token for up to an hour, so few tokens are valid at once."""
MIN_FETCH_SECONDS = 30.0
"""The minimum time between two fetches of the keys. It limits the fetches for tokens with invented key ids."""
FETCH_TIMEOUT_SECONDS = 5.0
RETRY_SECONDS = 1.0
MAX_TOKEN_CHARACTERS = 4_096

_MAX_AGE = re.compile(r"max-age=(\d+)")

_jwt: Any = google.auth.jwt  # the library has no type hints

logger = logging.getLogger("triggers")


class GoogleIdentity:
    """Accepts the OpenID Connect tokens of a service account of Google Cloud for one of `audiences`.

    Cloud Run serves a service under two URLs. Eventarc uses one of them as the audience. One URL contains a hash that
    is not known before the service exists. In `audiences`, a `*` matches letters, digits and hyphens, such as the hash.
    """

    def __init__(
        self, audiences: Sequence[str], service_account: str, certificates_url: str = CERTIFICATES_URL
    ) -> None:
        self._audiences = list(audiences)
        patterns = (re.escape(audience).replace(r"\*", "[a-z0-9-]+") for audience in audiences)
        self._audience = re.compile("|".join(patterns))
        self._service_account = service_account
        self._certificates_url = certificates_url
        self._request = google.auth.transport.requests.Request()
        self._certificates: Mapping[str, str] = {}
        self._certificates_end = 0.0  # on the monotonic clock, like the times below
        self._next_fetch = 0.0
        self._fetch_problem = ""
        self._fetch = asyncio.Lock()
        self._known: OrderedDict[bytes, float] = OrderedDict()  # the expiry of valid tokens, by digest

    async def accepts(self, token: bytes) -> bool:
        """Return whether `token` is a valid identity token of the service account for one of the audiences.

        Raises `Unavailable` if the keys of Google cannot be read.
        """
        digest = hashlib.sha256(token).digest()
        if self._known.get(digest, 0.0) > time.time():
            return True
        try:
            if len(token) > MAX_TOKEN_CHARACTERS:
                return False
            await self._refresh(_jwt.decode_header(token).get("kid"))
            claims = _jwt.decode(token, certs=self._certificates, clock_skew_in_seconds=MAX_CLOCK_SKEW_SECONDS)
        except (google.auth.exceptions.GoogleAuthError, ValueError) as error:
            logger.warning("an identity token was refused: %.200r", str(error))
            return False
        if not self._audience.fullmatch(str(claims.get("aud"))):
            expected = " or ".join(self._audiences)
            logger.warning(
                "an identity token was refused: its audience is %.200r, expected %s", str(claims.get("aud")), expected
            )
            return False
        if not self._is_service_account(claims):
            logger.warning("an identity token was refused: it is not the token of %s", self._service_account)
            return False
        self._known[digest] = float(claims["exp"])
        while len(self._known) > MAX_KNOWN_TOKENS:
            self._known.popitem(last=False)
        return True

    def proof(self, nonce: str) -> None:
        """Return None, because Google Cloud has no supervisor."""
        del nonce

    def _is_service_account(self, claims: Mapping[str, Any]) -> bool:
        return (
            claims.get("iss") in ISSUERS
            and claims.get("email") == self._service_account
            and claims.get("email_verified") is True
        )

    async def _refresh(self, key_id: object) -> None:
        """Fetch the keys if they are too old, or if `key_id` is not among them."""
        async with self._fetch:
            now = time.monotonic()
            is_known = key_id in self._certificates
            if now >= self._next_fetch and not (is_known and now < self._certificates_end):
                self._next_fetch = now + MIN_FETCH_SECONDS
                try:
                    self._certificates, max_age = await asyncio.to_thread(self._read_certificates)
                    self._certificates_end, self._fetch_problem = now + max_age, ""
                except (google.auth.exceptions.TransportError, ValueError, TypeError) as error:
                    self._next_fetch, self._fetch_problem = time.monotonic() + RETRY_SECONDS, str(error)
            if self._fetch_problem and key_id not in self._certificates:
                raise Unavailable(f"cannot read the keys of Google: {self._fetch_problem}")

    def _read_certificates(self) -> tuple[Mapping[str, str], float]:
        response = self._request(self._certificates_url, method="GET", timeout=FETCH_TIMEOUT_SECONDS)
        if response.status != 200:
            raise ValueError(f"expected the status 200, got {response.status}")
        certificates = json.loads(response.data)
        if not isinstance(certificates, dict):
            raise TypeError("expected a JSON object")
        match = _MAX_AGE.search(response.headers.get("cache-control", ""))
        return certificates, float(match[1]) if match else MIN_FETCH_SECONDS
