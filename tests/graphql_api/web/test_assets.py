"""The responses with static files of a page."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.staticfiles import StaticFiles

from graphql_api.graphql_server.tcp_state import TRANSPORT
from graphql_api.web.assets import Assets

CONTENT = bytes(range(256)) * 1_000


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    """The files of a folder with one large file."""
    (tmp_path / "large.js").write_bytes(CONTENT)
    return Assets(tmp_path, {"x-page": "1"}, is_immutable=True)


def request(
    assets: Assets, method: str = "GET", *, state: Mapping[str, object] = {}, **headers: str
) -> tuple[int, dict[str, str], list[Any]]:
    """Return the status, the headers and the parts of the body of the response to a request for the file."""
    messages: list[Any] = []
    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/large.js", "root_path": "", "headers": encoded, "state": state}

    async def receive() -> Any:
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(assets(scope, receive, send))
    start, *rest = messages
    received = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], received, [part for message in rest if (part := message.get("body"))]


def test_all_responses_share_the_content_of_a_file(assets: Assets) -> None:
    """Clients that do not read their responses then need little memory, and no file descriptors."""
    _, headers, first = request(assets)
    _, _, second = request(assets)

    assert b"".join(first) == CONTENT
    assert headers["content-length"] == str(len(CONTENT))
    assert len({id(part.obj) for part in [*first, *second]}) == 1
    assert max(map(len, first)) == 64 * 1024


def test_nothing_is_sent_after_the_client_has_disconnected(assets: Assets) -> None:
    """The rest of the parts would take time that other clients need."""
    transport = SimpleNamespace(is_closing=lambda: True)

    status, _, parts = request(assets, state={TRANSPORT: transport})

    assert (status, parts) == (200, [])


def test_a_file_can_change(assets: Assets, tmp_path: Path) -> None:
    """For example while a developer edits a page that is not bundled."""
    request(assets)
    (tmp_path / "large.js").write_bytes(CONTENT[:10])

    assert request(assets)[2] == [CONTENT[:10]]


def test_a_known_file_is_not_sent_again(assets: Assets) -> None:
    """HEAD has the headers of GET. Ranges are not supported."""
    _, headers, _ = request(assets)

    assert request(assets, "HEAD") == (200, headers, [])
    assert request(assets, if_none_match=headers["etag"])[::2] == (304, [])
    assert request(assets, range="bytes=0-9")[0] == 200
    assert "accept-ranges" not in headers


def test_a_list_of_known_tags_is_not_split(assets: Assets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starlette takes 3 ms to split a header with 31,000 commas, and anyone can send it."""
    _, headers, _ = request(assets)
    monkeypatch.setattr(StaticFiles, "is_not_modified", lambda *_: pytest.fail("Starlette splits the header"))

    assert request(assets, if_none_match="," * 31_000 + headers["etag"])[0] == 304
    assert request(assets, if_none_match="," * 31_000)[0] == 200
