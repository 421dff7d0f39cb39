"""Fixtures of the comparisons: both servers, running."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential import server_processes
from tests.differential.compared_servers import ComparedServer, ServerPair
from tests.differential.examples import ROUNDS
from tests.google_emulator import firestore


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComparedServer]:
    """Google's emulator."""
    if firestore.find() is None:
        pytest.skip(firestore.MISSING)
    with server_processes.emulator(tmp_path_factory.mktemp("emulator")) as address:
        server = ComparedServer("emulator", address)
        yield server
        server.close()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComparedServer]:
    """The embedded Firestore."""
    with server_processes.embedded(tmp_path_factory.mktemp("embedded")) as address:
        server = ComparedServer("embedded", address)
        yield server
        server.close()


@pytest.fixture(params=range(ROUNDS), ids="round {}".format)
def pair(emulator: ComparedServer, tmp_path: Path) -> Iterator[ServerPair]:
    """Google's emulator and an embedded Firestore that has no composite index yet."""
    with server_processes.embedded(tmp_path) as address:
        pair = ServerPair(emulator, ComparedServer("embedded", address))
        yield pair
        pair.embedded.close()
