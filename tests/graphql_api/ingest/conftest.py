"""A stack with small limits, shared by the tests of ingest."""

from collections.abc import Iterator

import pytest

from tests.stack import Stack

WRITE_TIMEOUT_SECONDS = 1.0


@pytest.fixture(scope="package")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a short write timeout and a low limit of pending writes."""
    with Stack(
        tmp_path_factory.mktemp("small"),
        DROPZONE_WRITE_TIMEOUT_SECONDS=str(WRITE_TIMEOUT_SECONDS),
        DROPZONE_MAX_SAMPLE_MIB="8",
        DROPZONE_MAX_PENDING_WRITES_MIB="8",
    ) as stack:
        yield stack
