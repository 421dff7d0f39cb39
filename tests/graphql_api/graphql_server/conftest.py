"""One running service for all tests with default limits."""

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
    """Return the shared service with no samples and no authentication error."""
    shared_service.state.submitted.clear()
    shared_service.state.authentication_error = None
    return shared_service
