"""Fixtures for all tests: the whole stack, started by its command, on free ports and in a folder of its own."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.stack import Stack

# A background shell makes its processes ignore SIGINT, and `nohup` SIGHUP. Processes that tests start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("dropzone", deadline=None, max_examples=30)
settings.load_profile("dropzone")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio works with asyncio only."""
    return "asyncio"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for tests that leave it running and read only their own samples."""
    with Stack(tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack for a test that kills or restarts it."""
    with Stack(tmp_path) as started:
        yield started
