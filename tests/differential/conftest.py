"""What all comparisons share: both servers, running."""

from collections.abc import Iterator

import pytest

from tests.differential import servers
from tests.differential.sides import Both, Side


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Google's emulator and the embedded Firestore."""
    if not servers.has_emulator():
        pytest.skip("Google's emulator is not installed: gcloud components install cloud-firestore-emulator")
    folder = tmp_path_factory.mktemp("differential")
    with servers.emulator(folder) as emulator, servers.embedded(folder) as embedded:
        both = Both(Side("emulator", emulator), Side("embedded", embedded))
        yield both
        both.emulator.close()
        both.embedded.close()
