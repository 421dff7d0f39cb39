"""Changes of the limits of existing keys: by the operator on the command line, and by an admin of the submitter."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from graphql_api.auth.secret_text import SHOWN_DIGITS, digest
from tests.graphql_api.budgets.test_allowance import items
from tests.graphql_api.endpoints.test_rate_limits import limited_key
from tests.stack import Stack, eventually

CREATE = """mutation { createApiKey(scopes: [SUBMIT, READ]) {
    secret apiKey { limits { samplesPerSecond } } } }"""
SET = """mutation ($digest: String!, $samples: Int, $requests: Int, $day: Int) {
    setApiKeyLimits(digest: $digest, samplesPerSecond: $samples, requestsPerSecond: $requests, samplesPerDay: $day) {
        digest limits { samplesPerSecond requestsPerSecond samplesPerDay } } }"""
LIMITS = "{ apiKeys { digest limits { samplesPerSecond requestsPerSecond } } }"


def announced(stack: Stack, key: str, header: str) -> dict[str, dict[str, str]]:
    """Return a header about what a key may send, by policy."""
    return items(stack.get("/results", **{"x-api-key": key}).headers[header].encode())


def quotas(stack: Stack, key: str) -> dict[str, str]:
    """Return the quota of each policy that the API announces to a key."""
    return {policy: parameters["q"] for policy, parameters in announced(stack, key, "ratelimit-policy").items()}


def set_limits(stack: Stack, key: str, *options: str) -> list[str]:
    """Set the limits of a key on the command line. Return what the command prints."""
    return stack.keys("limits", "--digest", digest(key)[:SHOWN_DIGITS], *options).splitlines()


def test_the_operator_changes_the_limits_of_a_key_in_use(stack: Stack) -> None:
    """The key stays the same. A limit that is not given is that of the submitter."""
    key = stack.new_key("limited-later", "submit,read", label="roof sensor")
    before = quotas(stack, key)

    (line,) = set_limits(stack, key, "--samples-per-second", "7", "--samples-per-day", "100")

    assert line.startswith(digest(key)[:SHOWN_DIGITS])
    assert line.endswith("samples per second 7, samples per day 100")
    limited = {**before, "sample-count": "7", "daily-sample-count": "100"}
    eventually(lambda: quotas(stack, key) == limited)
    set_limits(stack, key, "--requests-per-second", "900")
    eventually(lambda: quotas(stack, key) == {**before, "requests": "900"})
    set_limits(stack, key)
    eventually(lambda: quotas(stack, key) == before)
    entries = [json.loads(each) for each in stack.keys("audit", "--submitter", "limited-later").splitlines()]
    assert [(each["action"], each["actor"]) for each in entries[:3]] == [("key.limits_changed", "operator")] * 3
    name = f'key {digest(key)[:SHOWN_DIGITS]} "roof sensor"'
    assert entries[0]["details"] == f"{name} limits of the submitter"
    assert entries[1]["details"] == f"{name} limits requests per second 900"


def test_the_keys_that_share_limits_change_together(stack: Stack) -> None:
    """Otherwise each of them would have an allowance of its own. Other keys stay as they are."""
    admin = limited_key(stack, "shared-limits", samples_per_second=50)
    other = limited_key(stack, "shared-limits", samples_per_second=60)
    secret = stack.graphql(CREATE, key=admin)["createApiKey"]["secret"]

    lines = set_limits(stack, secret, "--samples-per-second", "40")

    assert {line[:SHOWN_DIGITS] for line in lines} == {digest(each)[:SHOWN_DIGITS] for each in (admin, secret)}
    found = {each["digest"]: each["limits"]["samplesPerSecond"] for each in stack.graphql(LIMITS, key=admin)["apiKeys"]}
    assert found == {digest(admin): 40, digest(secret): 40, digest(other): 60}


def test_a_key_created_right_after_a_change_has_the_new_limits(stack: Stack) -> None:
    """The API may still have the earlier limits of the caller in its cache."""
    admin = limited_key(stack, "created-after", samples_per_second=50)
    stack.graphql("{ __typename }", key=admin)

    set_limits(stack, admin, "--samples-per-second", "4")

    created = stack.graphql(CREATE, key=admin)["createApiKey"]
    assert created["apiKey"]["limits"] == {"samplesPerSecond": 4}


def test_an_open_stream_has_the_new_limits(stack: Stack) -> None:
    """With the earlier limit, the stream would need most of an hour."""
    key = limited_key(stack, "open-stream", samples_per_second=1)
    headers = {"x-api-key": key, "content-type": "application/x-ndjson"}

    def lines() -> Iterator[bytes]:
        for _ in range(25):
            yield b"{}\n" * 100

    def send() -> httpx.Response:
        return httpx.post(f"{stack.url}/samples", content=lines(), headers=headers, timeout=120)

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        eventually(lambda: announced(stack, key, "ratelimit")["sample-count"]["r"] == "0")
        set_limits(stack, key, "--samples-per-second", "100000")
        response = sent.result()

    assert [json.loads(line)["state"] for line in response.text.splitlines()] == ["REJECTED"] * 2_500


def test_an_admin_can_lower_the_limits_of_a_key(stack: Stack) -> None:
    """The audit log says which key did it."""
    admin = limited_key(stack, "lowers", samples_per_second=50, requests_per_second=300)

    changed = stack.graphql(SET, {"digest": digest(admin), "samples": 20, "requests": 300}, key=admin)

    limits = {"samplesPerSecond": 20, "requestsPerSecond": 300, "samplesPerDay": None}
    assert changed["setApiKeyLimits"] == [{"digest": digest(admin), "limits": limits}]
    eventually(lambda: quotas(stack, admin)["sample-count"] == "20")
    (entry,) = stack.graphql("{ auditLog { action actor details } }", key=admin)["auditLog"]
    name = f"key {digest(admin)[:SHOWN_DIGITS]}"
    assert entry["action"] == "key.limits_changed"
    assert (entry["actor"], entry["details"]) == (
        name,
        f"{name} limits requests per second 300, samples per second 20",
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"samples": 51}, "expected a number from 1 to 50 - at `samplesPerSecond`"),
        ({"samples": 0}, "expected a number from 1 to 50 - at `samplesPerSecond`"),
        ({}, "expected a number from 1 to 50 - at `samplesPerSecond`"),
        ({"samples": 50, "requests": 20_001}, "expected a number from 1 to 20,000 - at `requestsPerSecond`"),
        ({"samples": 50, "day": 0}, "expected a number of at least 1 - at `samplesPerDay`"),
    ],
    ids=["higher", "zero", "that of the submitter", "more than the submitter", "no quota"],
)
def test_an_admin_raises_no_limit(stack: Stack, values: dict[str, Any], message: str) -> None:
    """Otherwise a submitter could get any number of times what it may send."""
    admin = limited_key(stack, "raises", samples_per_second=50)

    response = stack.post_graphql(SET, {"digest": digest(admin), **values}, key=admin).json()

    assert response["errors"][0]["message"] == message


def test_an_admin_gives_no_key_limits_of_its_own(stack: Stack) -> None:
    """The key would no longer count towards the limits of the submitter. Another submitter's key is not found."""
    admin, other = stack.new_key("gives-limits", "admin"), limited_key(stack, "has-limits", samples_per_second=2)

    errors = [
        stack.post_graphql(SET, {"digest": digest(key), "samples": 1}, key=admin).json()["errors"][0]["message"]
        for key in (admin, other)
    ]

    assert errors == [
        "the key has no limits of its own; ask your operator to set limits - at `digest`",
        "no API key has this digest",
    ]
