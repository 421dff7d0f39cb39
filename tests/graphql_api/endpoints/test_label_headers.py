"""Labels in headers, for publishers that cannot change their JSON."""

import json
from typing import Any

import httpx
import pytest

from tests.stack import Stack

SAMPLE = {"time_stamp": "2019-05-01T00:00:00Z", "data": [1]}


def post(stack: Stack, content: str, kind: str, headers: Any) -> httpx.Response:
    """Submit a body with headers, of which several can have one name."""
    sent = [("x-api-key", stack.key), ("content-type", kind), *headers]
    return httpx.post(f"{stack.url}/samples", content=content, headers=sent, timeout=60)


def test_a_header_adds_a_label_to_each_sample_of_a_request(stack: Stack) -> None:
    """A label of the sample itself takes precedence. A `-` in the header stands for `_`."""
    lines = json.dumps(SAMPLE | {"labels": {"site": "own"}}) + "\n{}"
    headers = [("x-label-site", "header"), ("X-Label-Serial-Number", "7")]

    receipts = [json.loads(line) for line in post(stack, lines, "application/x-ndjson", headers).iter_lines()]
    one = post(stack, json.dumps(SAMPLE), "application/json", [(b"x-label-site", "zürich".encode())])

    assert [receipt["labels"] for receipt in receipts] == [
        {"serial_number": "7", "site": "own"},
        {"serial_number": "7", "site": "header"},
    ]
    assert one.json()["labels"] == {"site": "zürich"}


def test_a_request_with_the_same_key_and_another_label_is_refused(stack: Stack) -> None:
    """Its sample would otherwise be lost: the response would be the receipt of the earlier sample."""
    headers = [("idempotency-key", "labels of headers")]
    zurich, bern = [*headers, ("x-label-site", "zurich")], [*headers, ("x-label-site", "bern")]

    first, again, other = [post(stack, json.dumps(SAMPLE), "application/json", sent) for sent in (zurich, zurich, bern)]

    assert again.json() == first.json()
    assert (other.status_code, other.json()["error"]["extensions"]["code"]) == (409, "CONFLICT")


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ([("x-label-", "a")], "got an empty name - in the header `x-label-`"),
        ([("x-label-7-site", "a")], "got 7_site - in the header `x-label-7-site`"),
        ([("x-label-" + "x" * 50, "a")], f"in the header `x-label-{'x' * 32}…`"),
        ([("x-label-serial-number", "x" * 65)], "got 65 - in the header `x-label-serial-number`"),
        ([("x-label-site", b"\xff")], "in UTF-8 - in the header `x-label-site`"),
        ([("x-label-a-b", "1"), ("x-label-a_b", "2")], "got several - in the header `x-label-a_b`"),
        ([(f"x-label-{name}", "1") for name in "abcde"], "at most 4 labels, got 5 - in the headers `x-label-NAME`"),
    ],
)
def test_the_error_about_a_label_names_its_header(stack: Stack, headers: list[Any], named: str) -> None:
    """A publisher that sends several headers finds the one that is wrong."""
    refused = post(stack, "{}", "application/json", headers)

    error = refused.json()["error"]
    assert (refused.status_code, error["extensions"]["code"]) == (400, "BAD_REQUEST")
    assert error["message"].endswith(named)
