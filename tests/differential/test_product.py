"""The product itself works against Google's emulator, as against the embedded Firestore."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.differential.compared_servers import ComparedServer
from tests.ports import free_port
from tests.stack import eventually

SAMPLE = Path("fixture/sample.json").read_bytes()


@pytest.fixture(params=["emulator", "embedded"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment that selects one of the servers, with a project of its own."""
    server: ComparedServer = request.getfixturevalue(request.param)
    return os.environ | {
        "FIRESTORE_EMULATOR_HOST": server.address,
        "GOOGLE_CLOUD_PROJECT": "product",
        "DROPZONE_API_PORT": str(free_port()),
        "DROPZONE_LOCAL_KEY_FILE": "",
    }


@pytest.fixture
def api(environment: dict[str, str]) -> Iterator[httpx.Client]:
    """A client of an API process on that server, with a key."""
    keys = [sys.executable, "-m", "graphql_api.auth.keys", "create", "--submitter", "one", "--scopes", "submit,read"]
    key = subprocess.run(keys, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    process = subprocess.Popen([sys.executable, "-m", "graphql_api"], env=environment)
    url = f"http://127.0.0.1:{environment['DROPZONE_API_PORT']}"
    with httpx.Client(base_url=url, headers={"x-api-key": key}, timeout=60) as client:

        def is_ready() -> bool:
            assert process.poll() is None
            try:
                return client.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        try:
            eventually(is_ready)
            yield client
        finally:
            process.terminate()
            process.wait(60)


def test_a_sample_is_stored_and_read(api: httpx.Client) -> None:
    """Keys, small and large samples are written, and reads and queries find them."""
    large = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%s]}' % b", ".join([b"0.5"] * 200_000)
    for raw in (SAMPLE, large):
        receipt = api.post("/samples", content=raw, headers={"content-type": "application/json"}).json()
        assert receipt["state"] == "PENDING", receipt

        found = api.get(f"/samples/{receipt['id']}")

        assert (found.status_code, found.content) == (200, raw)
    assert api.get("/results").status_code == 200
