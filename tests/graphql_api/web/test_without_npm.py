"""GraphiQL of a server without npm, in a real browser that cannot reach the CDN."""

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette

from graphql_api.web.pages import GRAPHIQL_FOLDER, graphiql_page
from tests.graphql_api.web.graphiql import GraphiQL

FIXTURE = Path(__file__).parents[3] / "fixture" / "sample.json"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Serve the page without a build."""
    folder = shutil.copytree(GRAPHIQL_FOLDER / "page", tmp_path / "graphiql" / "page").parent
    page = graphiql_page(FIXTURE, folder)
    app = Starlette(routes=[page.route, page.assets])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/graphql"
        server.should_exit = True
        thread.join()


def test_unreachable_cdn_is_reported(url: str, graphiql: GraphiQL) -> None:
    """The page says what is missing and how to install it."""
    graphiql.go_to(url)

    graphiql.wait_for(lambda: "could not be loaded from cdn.jsdelivr.net" in (graphiql.text("body") or ""))
    assert "install Node.js with npm" in (graphiql.text("body") or "")
