"""The official audits and clients from npm, if they are installed (`npm ci` in this folder)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.graphql_api.graphql_server.service import KEY, running

FOLDER = Path(__file__).parent


def test_all_audits_and_clients_pass() -> None:
    """61 audits of GraphQL over HTTP, and two responses for each of two subscription clients."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules").is_dir():
        pytest.skip("needs Node, and `npm ci` in tests/graphql_api/audit")
    with running() as service:
        environment = {**os.environ, "DROPZONE_URL": service.url, "DROPZONE_API_KEY": KEY}
        audit = subprocess.run(
            [node, "audit.mjs"], cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=100, check=False
        )

    assert audit.stdout.splitlines()[-1:] == ["65 passed, 0 failed"], audit.stderr
