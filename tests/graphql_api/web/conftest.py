"""A browser, if one is installed. Each test gets a new tab and no data of other tests."""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from graphql_api.web.pages import DASHBOARD_FOLDER, GRAPHIQL_FOLDER
from tests.chromium import open_browser
from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.graphiql import GraphiQL


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Start one browser for all tests: a start takes longer than most tests."""
    with open_browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def driver(chrome: Chrome) -> Iterator[Chrome]:
    """Yield the browser with a new tab. Afterwards, close it and delete the data of all pages.

    A page that is open saves its state with a delay, so also after the deletion.
    """
    chrome.switch_to.new_window("tab")
    for log in ("performance", "browser"):
        chrome.get_log(log)  # type: ignore[no-untyped-call]  # discards the entries of other tests
    yield chrome
    chrome.close()
    chrome.switch_to.window(chrome.window_handles[0])
    chrome.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chrome.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})


@pytest.fixture(scope="session")
def built_graphiql() -> None:
    """Skip tests of GraphiQL if npm has not built it."""
    if not (GRAPHIQL_FOLDER / "dist" / "page.html").exists():
        pytest.skip("needs GraphiQL as npm builds it")


@pytest.fixture(scope="session")
def built_dashboard() -> None:
    """Skip tests of the dashboard if npm has not built it."""
    if not (DASHBOARD_FOLDER / "dist" / "page.html").exists():
        pytest.skip("needs the page as npm builds it")


@pytest.fixture
def graphiql(built_graphiql: None, driver: Chrome) -> GraphiQL:
    """Return a browser for GraphiQL."""
    return GraphiQL(driver)


@pytest.fixture
def dashboard(built_dashboard: None, driver: Chrome) -> Dashboard:
    """Return a browser for the dashboard."""
    return Dashboard(driver)
