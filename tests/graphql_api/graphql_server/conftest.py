"""One service for all tests that change nothing about it."""

from collections.abc import Iterator

import pytest

from tests.graphql_api.graphql_server.service import Service, running


@pytest.fixture(scope="session")
def shared_service() -> Iterator[Service]:
    """Serve with the default limits."""
    with running() as service:
        yield service


@pytest.fixture
def service(shared_service: Service) -> Service:
    """Return the shared service with nothing submitted and nothing wrong."""
    shared_service.state.submitted.clear()
    shared_service.state.authentication_error = None
    return shared_service
