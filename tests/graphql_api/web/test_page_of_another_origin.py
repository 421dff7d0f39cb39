"""A page of another origin in a real browser, which uses the API if the operator allows its origin."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.graphql_api.web.browser import Browser
from tests.stack import Stack

SUBMIT = """
const [url, key, done] = arguments;
const headers = {'x-api-key': key, 'content-type': 'application/json', 'x-label-site': 'zurich'};
fetch(url + '/samples', {method: 'POST', headers, body: '{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 3]}'})
  .then(async (response) => [response.status, (await response.json()).state, [...response.headers.keys()]])
  .then(done, (error) => done(String(error)));
"""
WHO = """
const [url, credentials, done] = arguments;
fetch(url + '/session', {credentials}).then((response) => response.json()).then(done, (error) => done(String(error)));
"""
CONNECT = """
const [url, done] = arguments;
const socket = new WebSocket(url.replace('http', 'ws') + '/graphql', 'graphql-transport-ws');
socket.onopen = () => done('open');
socket.onerror = () => done('refused');
"""


class _BlankPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>another site</title>")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name of the base class
        """Write no log."""


@pytest.fixture(scope="module")
def sites() -> Iterator[list[str]]:
    """The origins of two other sites on this machine."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _BlankPage) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def open_stack(sites: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that allows the origin of the first site."""
    with Stack(tmp_path_factory.mktemp("open"), DROPZONE_ALLOWED_ORIGINS=sites[0]) as stack:
        yield stack


def run(driver: Chrome, script: str, *arguments: object) -> Any:
    """Return what a script of the page passes to its callback."""
    return driver.execute_async_script(script, *arguments)


def test_a_script_of_an_allowed_origin_submits_and_watches(open_stack: Stack, sites: list[str], driver: Chrome) -> None:
    """It needs a preflight request, and reads what it may still send. The session of the user is out of its reach."""
    Browser(driver).sign_in(open_stack)
    driver.get(sites[0])

    status, state, headers = run(driver, SUBMIT, open_stack.url, open_stack.key)

    assert (status, state) == (201, "PENDING")
    assert {"location", "ratelimit", "ratelimit-policy", "x-request-id"} <= set(headers)
    assert run(driver, CONNECT, open_stack.url) == "open"
    assert run(driver, WHO, open_stack.url, "omit")["submitter"] is None
    assert run(driver, WHO, open_stack.url, "include") == "TypeError: Failed to fetch"
    driver.get(open_stack.url)
    assert run(driver, WHO, open_stack.url, "include")["submitter"] == "local"


def test_a_script_of_another_origin_gets_nothing(open_stack: Stack, sites: list[str], driver: Chrome) -> None:
    """The same host with another port is another origin."""
    driver.get(sites[1])

    assert run(driver, SUBMIT, open_stack.url, open_stack.key) == "TypeError: Failed to fetch"
    assert run(driver, WHO, open_stack.url, "omit") == "TypeError: Failed to fetch"
    assert run(driver, CONNECT, open_stack.url) == "refused"
