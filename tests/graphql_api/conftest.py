"""Fixtures for tests of lists."""

from collections.abc import Iterator

import pytest

from tests.graphql_api.results.measured import Measured
from tests.stack import Stack


@pytest.fixture(scope="session", params=[1, 3], ids=["one shard", "three shards"])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    """Return sixty computed samples, stored once in one shard and once in three."""
    with Stack(tmp_path_factory.mktemp("shards"), DROPZONE_SHARDS=str(request.param)) as stack:
        yield Measured(stack)
