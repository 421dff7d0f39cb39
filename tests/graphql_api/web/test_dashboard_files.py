"""How the dashboard reads the files that are submitted on it, in a real browser."""

import json
from pathlib import Path

from tests.graphql_api.web.dashboard import Dashboard
from tests.stack import Stack

SAMPLE = {"time_stamp": "2026-11-24T01:02:03Z", "data": [1]}


def test_a_byte_order_mark_at_the_start_of_a_file_is_not_sent(
    stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """PowerShell and Notepad can write it, and the API refuses it."""
    one, some = tmp_path / "one.json", tmp_path / "some.ndjson"
    one.write_text(json.dumps(SAMPLE, indent=2), encoding="utf-8-sig")
    some.write_text(f"{json.dumps(SAMPLE)}\n{json.dumps(SAMPLE | {'data': [2]})}\n", encoding="utf-8-sig")
    dashboard.open(stack, key=stack.new_key("byte-order-mark-on-page"))

    dashboard.drop(one)
    dashboard.drop(some)

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "2 computed 1 computed")
