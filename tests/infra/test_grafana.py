"""The queries of the Grafana dashboard, sent as its data source sends them."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from graphql import GraphQLEnumType, build_schema

from dropzone import Client
from tests.stack import PATIENCE_SECONDS, Stack

DASHBOARD = json.loads(Path("infra/grafana/dashboard.json").read_text())
ACCEPTED = {"graphql": "application/json;q=0.9,text/plain", "csv": "text/csv; charset=utf-8"}
"""The header `Accept` that the data source sends, by the type of the query."""
MAX_TABLE_ROWS = 1_000
"""A browser must hold all rows of a table."""
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
PANELS = {panel["title"]: panel["targets"][0] for panel in DASHBOARD["panels"]}


def substitute(text: str, url: str) -> str:
    """Replace the variables of Grafana."""
    values = {
        "url": url,
        "label": "site",
        "bucket": VARIABLES["bucket"]["current"]["value"],
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
    """Return a key that can only read. Its submitter has results of two sites. Another label comes first by name."""
    with Client(stack.url, stack.new_key("grafana")) as client:
        receipts = [
            client.submit({"time_stamp": "2026-05-01T06:00:00Z", "data": [1, 2]}, labels={"room": "1", "site": site})
            for site in ("bern", "zürich")
        ]
        list(client.wait([receipt.id for receipt in receipts]))
    return stack.new_key("grafana", "read")


def rows_of(stack: Stack, key: str, title: str) -> list[Any]:
    """Send the query of a panel with the key as a bearer token, and return its rows."""
    target = PANELS[title]
    headers = {"authorization": f"Bearer {key}", "accept": ACCEPTED[target["type"]]}
    url = substitute(target["url"], stack.url)
    if target["type"] == "graphql":
        body = {"query": substitute(target["url_options"]["body_graphql_query"], stack.url), "variables": None}
        response = httpx.post(url, json=body, headers=headers, timeout=PATIENCE_SECONDS).json()
        return list(select(response, target["root_selector"]))
    assert int(parse_qs(urlsplit(url).query)["limit"][0]) <= MAX_TABLE_ROWS
    text = httpx.get(url, headers=headers, timeout=PATIENCE_SECONDS).text
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("title", PANELS)
def test_each_column_of_a_panel_is_in_the_response(stack: Stack, key: str, title: str) -> None:
    """There is one row per site."""
    rows = rows_of(stack, key, title)

    assert len(rows) == 2
    for row in rows:
        assert all(select(row, column["selector"]) is not None for column in PANELS[title]["columns"])


def test_each_panel_with_groups_names_the_sites(stack: Stack, key: str) -> None:
    """Its column does not have the value of another label."""
    groups = {
        title: column["selector"]
        for title, target in PANELS.items()
        for column in target["columns"]
        if column["text"] == "group"
    }

    assert len(groups) == 3
    for title, selector in groups.items():
        assert [select(row, selector) for row in rows_of(stack, key, title)] == ["bern", "zürich"]


def test_the_time_buckets_are_those_of_the_schema() -> None:
    """A query has at most 20,000 buckets of all groups, so a long range needs longer buckets."""
    kind = build_schema(Path("schema.graphql").read_text()).get_type("TimeBucket")
    assert isinstance(kind, GraphQLEnumType)
    names = VARIABLES["bucket"]["query"].split(",")

    assert sorted(names) == sorted(kind.values)
    assert [option["value"] for option in VARIABLES["bucket"]["options"]] == names
