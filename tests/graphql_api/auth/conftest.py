"""Fixtures for tests of who may read what."""

import pytest

from tests.graphql_api.auth.owner import Owner
from tests.stack import Stack


@pytest.fixture(scope="session")
def owner(stack: Stack) -> Owner:
    """A submitter with something of everything, which the tests leave as it is."""
    return Owner.create(stack)
