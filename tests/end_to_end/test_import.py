"""A data file that was exported and imported keeps the promises: samples are computed, and readers resume."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from graphql_api.results.pagination import Cursor
from tests.stack import Stack, eventually

SAMPLES = 60
RESULTS = "{ results(first: 100, orderBy: {field: COMPUTED_AT}) { edges { cursor node { id computedAt } } } }"
WATCH = "subscription ($after: String) { results(after: $after) { cursor node { id } } }"


def archive(*arguments: str, text: str | None = None) -> str:
    """Run the archive command; return its output."""
    command = [sys.executable, "-m", "infra.embedded.firestore.archive", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=120).stdout


def submit(stack: Stack) -> None:
    """Submit samples as NDJSON."""
    body = b"".join(b'{"time_stamp": "2020-01-01T00:00:00Z", "data": [%d]}\n' % number for number in range(SAMPLES))
    assert stack.post_sample(body, content_type="application/x-ndjson").status_code == 200


def results(stack: Stack, count: int) -> list[dict[str, Any]]:
    """Wait until there are `count` results. Return the edges in the order of computation."""

    def complete() -> list[dict[str, Any]]:
        edges: list[dict[str, Any]] = stack.graphql(RESULTS)["results"]["edges"]
        return edges if len(edges) == count else []

    return eventually(complete, lambda: stack.log)


def resume(stack: Stack, cursor: str, count: int) -> list[str]:
    """Subscribe after a cursor; return the ids of the next `count` results."""
    received: list[str] = []
    body = {"query": WATCH, "variables": {"after": cursor}}
    headers = {"x-api-key": stack.key, "accept": "text/event-stream"}
    with httpx.stream("POST", f"{stack.url}/graphql", json=body, headers=headers, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and '"next"' not in line and len(line) > len("data: "):
                received.append(json.loads(line.removeprefix("data: "))["data"]["results"]["node"]["id"])
            if len(received) == count:
                break
    return received


def position(edge: dict[str, Any]) -> tuple[datetime, str]:
    """Return the position of a result in the order of the writes."""
    cursor = Cursor.decode(edge["cursor"])
    return cursor.written_at, cursor.id


def test_an_imported_file_continues_where_the_exported_file_was(tmp_path: Path) -> None:
    """PENDING samples are computed, other results stay as they are, and cursors from before remain valid."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    with Stack(tmp_path / "old") as old:
        submit(old)
        before = results(old, SAMPLES)
        key = old.key
    data = tmp_path / "old" / "data" / "firestore.sqlite"
    pending = {edge["node"]["id"] for edge in before[::10]}
    lines = [
        line
        for line in archive("export", "--data", str(data)).splitlines(keepends=True)
        if not ("/results/" in (name := json.loads(line)["name"]) and name.rpartition("/")[2] in pending)
    ]
    new_data = tmp_path / "new" / "data" / "firestore.sqlite"
    new_data.parent.mkdir()
    archive("import", "--data", str(new_data), "--indexes", "infra/gcp/firestore.indexes.json", text="".join(lines))
    (new_data.parent / "api-key").write_text(key)

    with Stack(tmp_path / "new") as new:
        after = results(new, SAMPLES)
        cursor = sorted(before, key=position)[SAMPLES // 4]["cursor"]
        expected = sorted(edge["node"]["id"] for edge in after if position(edge) > position({"cursor": cursor}))
        resumed = resume(new, cursor, len(expected))

    kept = [edge for edge in before if edge["node"]["id"] not in pending]
    assert [edge for edge in after if edge["node"]["id"] not in pending] == kept
    assert len(expected) > SAMPLES // 2
    assert pending <= set(expected)
    assert sorted(resumed) == expected
