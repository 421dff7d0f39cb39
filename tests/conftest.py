"""What all tests share: the whole stack, started as its user starts it, on ports and a folder of its own."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.stack import Stack

# A shell that runs the tests in the background makes them ignore Ctrl-C, `nohup` that a terminal is gone, and so
# would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("dropzone", deadline=None, max_examples=30)
settings.load_profile("dropzone")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, shared by tests that leave it running and look at their own samples only."""
    with Stack(tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack for one test that kills or restarts it."""
    with Stack(tmp_path) as started:
        yield started
