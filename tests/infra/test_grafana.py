"""The queries of the Grafana dashboard, sent as its data source sends them."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from dropzone import Client
from tests.stack import PATIENCE_SECONDS, Stack

DASHBOARD = json.loads(Path("infra/grafana/dashboard.json").read_text())
ACCEPTED = {"graphql": "application/json;q=0.9,text/plain", "csv": "text/csv; charset=utf-8"}
"""The header `Accept` that the data source sends, by the type of the query."""
MAX_TABLE_ROWS = 1_000
"""A browser must hold all rows of a table."""
PANELS = {panel["title"]: panel["targets"][0] for panel in DASHBOARD["panels"]}


def substitute(text: str, url: str) -> str:
    """Replace the variables of Grafana."""
    values = {
        "url": url,
        "label": "site",
        "__from:date:iso": "2026-05-01T00:00:00.000Z",
        "__to:date:iso": "2026-05-02T00:00:00.000Z",
    }
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    return text


def select(row: Any, selector: str) -> Any:
    """Return the value at a selector such as `labels.0.value`."""
    for part in selector.split("."):
        row = row[int(part)] if isinstance(row, list) else row[part]
    return row


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Return a key that can only read. Its submitter has results of two sites."""
    with Client(stack.url, stack.new_key("grafana")) as client:
        receipts = [
            client.submit({"time_stamp": "2026-05-01T06:00:00Z", "data": [1, 2]}, labels={"site": site})
            for site in ("bern", "zürich")
        ]
        list(client.wait([receipt.id for receipt in receipts]))
    return stack.new_key("grafana", "read")


@pytest.mark.parametrize("title", PANELS)
def test_each_column_of_a_panel_is_in_the_response(stack: Stack, key: str, title: str) -> None:
    """The key is a bearer token. There is one row per site."""
    target = PANELS[title]
    headers = {"authorization": f"Bearer {key}", "accept": ACCEPTED[target["type"]]}
    url = substitute(target["url"], stack.url)

    if target["type"] == "graphql":
        body = {"query": substitute(target["url_options"]["body_graphql_query"], stack.url), "variables": None}
        rows = select(
            httpx.post(url, json=body, headers=headers, timeout=PATIENCE_SECONDS).json(), target["root_selector"]
        )
    else:
        text = httpx.get(url, headers=headers, timeout=PATIENCE_SECONDS).text
        rows = list(csv.DictReader(io.StringIO(text)))
        assert int(parse_qs(urlsplit(url).query)["limit"][0]) <= MAX_TABLE_ROWS

    assert len(rows) == 2
    for row in rows:
        assert all(select(row, column["selector"]) is not None for column in target["columns"])
