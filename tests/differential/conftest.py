"""What all comparisons share: both servers, running."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential import servers
from tests.differential.examples import ROUNDS
from tests.differential.sides import Both, Side


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Google's emulator."""
    if not servers.has_emulator():
        pytest.skip("Google's emulator is not installed: gcloud components install cloud-firestore-emulator")
    with servers.emulator(tmp_path_factory.mktemp("emulator")) as address:
        side = Side("emulator", address)
        yield side
        side.close()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """The embedded Firestore."""
    with servers.embedded(tmp_path_factory.mktemp("embedded")) as address:
        side = Side("embedded", address)
        yield side
        side.close()


@pytest.fixture(params=range(ROUNDS), ids="round {}".format)
def both(emulator: Side, tmp_path: Path) -> Iterator[Both]:
    """Google's emulator and an embedded Firestore without any index yet."""
    with servers.embedded(tmp_path) as address:
        both = Both(emulator, Side("embedded", address))
        yield both
        both.embedded.close()
