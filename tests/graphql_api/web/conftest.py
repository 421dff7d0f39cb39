"""A browser, if one is installed, with a new profile for each test, because pages store data in the profile."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.chromium import open_browser
from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.graphiql import GraphiQL


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Chrome]:
    """Yield a browser without an open page."""
    with open_browser(tmp_path / "profile") as started:
        yield started


@pytest.fixture
def graphiql(driver: Chrome) -> GraphiQL:
    """Return a browser for GraphiQL."""
    return GraphiQL(driver)


@pytest.fixture
def dashboard(driver: Chrome) -> Dashboard:
    """Return a browser for the dashboard."""
    return Dashboard(driver)
