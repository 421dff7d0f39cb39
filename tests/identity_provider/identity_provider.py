"""A certified OpenID provider from npm, on a free port."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from joserfc.jwk import ECKey

from tests.ports import free_port

FOLDER = Path(__file__).parent
SECRET = "a-secret-of-the-station"


def require_npm_packages() -> None:
    """Skip the test if the provider is not installed."""
    if shutil.which("node") is None or not (FOLDER / "node_modules").is_dir():
        pytest.skip("needs Node, and `npm ci` in tests/identity_provider")


class IdentityProvider:
    """A provider that issues tokens for the API at `audience`."""

    def __init__(self, audience: str) -> None:
        require_npm_packages()
        self._audience = audience
        self._port = free_port()
        self.issuer = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start("first")
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self, key_id: str) -> None:
        """Start the provider with a new signing key."""
        self.key = ECKey.generate_key("P-256", {"kid": key_id, "use": "sig", "alg": "ES256"})
        configuration = {
            "port": self._port,
            "audience": self._audience,
            "redirectUri": f"{self._audience}/session/callback",
            "keys": [self.key.as_dict(private=True)],
        }
        command = ["node", "--no-warnings", "provider.mjs", json.dumps(configuration)]
        self._process = subprocess.Popen(
            command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        """Stop the provider."""
        self._process.kill()
        self._process.communicate()

    def token(self, scope: str = "submit read", client: str = "station") -> str:
        """Return an access token of a program, by client credentials."""
        form = {"grant_type": "client_credentials", "scope": scope, "resource": self._audience}
        response = httpx.post(f"{self.issuer}/token", auth=(client, SECRET), data=form, timeout=30)
        token: str = response.json()["access_token"]
        return token

    def requests(self, path: str) -> int:
        """Return how many requests to a path the provider has received since its start."""
        counts: dict[str, Any] = httpx.get(f"{self.issuer}/requests", timeout=30).json()
        return int(counts.get(path, 0))
