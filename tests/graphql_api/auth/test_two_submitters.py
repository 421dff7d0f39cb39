"""What one submitter has, another one cannot detect.

The answer to an id, cursor, key or name of another submitter is the answer to one that does not exist.
"""

import re

import httpx
import pytest

from graphql_api.auth.secret_text import digest
from tests.graphql_api.auth.owner import (
    BY_ID,
    ENTRIES,
    EXPORTS,
    IDEMPOTENCY_KEY,
    LISTS,
    REMOVALS,
    SITE,
    SUBMIT,
    WATCH,
    Owner,
    events,
    execute,
    operation,
)
from tests.stack import Stack

UNKNOWN_ID = "5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90"


@pytest.fixture(scope="module")
def other(stack: Stack) -> str:
    """A key of another submitter with all scopes but `read-all`."""
    return stack.new_key("other", "submit,read,admin")


@pytest.mark.parametrize("name", BY_ID)
def test_an_id_of_another_submitter_is_like_one_that_does_not_exist(owner: Owner, other: str, name: str) -> None:
    """Reading, writing and subscribing respond with the same text, except for the id.

    A submitter can have only one deletion at a time, so each request is of a submitter of its own.
    """
    theirs = owner.ids[name]
    unknown = "0" * len(theirs) if name.endswith("a key") else UNKNOWN_ID
    requests = ((other, theirs), (owner.stack.new_key("third", "submit,read,admin"), unknown))
    answers = [
        execute(owner.stack, {"x-api-key": key}, operation(name), {"id": each}).replace(each, "ID")
        for key, each in requests
    ]

    assert answers[0] == answers[1]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_plain_http_responds_to_a_sample_of_another_submitter_as_to_none(owner: Owner, other: str, method: str) -> None:
    """Also if the client knows its entity tag."""
    etag = httpx.get(f"{owner.stack.url}/samples/{owner.first}", headers={"x-api-key": owner.key}).headers["etag"]
    headers = {"x-api-key": other, "if-none-match": etag, "x-request-id": "same"}
    answers = [
        httpx.request(method, f"{owner.stack.url}/samples/{each}", headers=headers)
        for each in (owner.first, UNKNOWN_ID)
    ]

    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].text.replace(owner.first, "ID") == answers[1].text.replace(UNKNOWN_ID, "ID")


@pytest.mark.parametrize("name", LISTS)
def test_lists_have_nothing_of_another_submitter(owner: Owner, other: str, name: str) -> None:
    """They are those of a submitter that has nothing, also after a cursor of the other one."""
    query = LISTS[name]
    variables = {"cursor": owner.cursor} if "$cursor" in query else {}
    document = f"query ($cursor: String) {query}" if variables else query
    theirs = execute(owner.stack, {"x-api-key": owner.key}, document, variables)
    ours = execute(owner.stack, {"x-api-key": other}, document, variables)
    empty = execute(owner.stack, {"x-api-key": owner.stack.new_key("empty")}, document, variables)

    assert ours == empty
    assert ours != theirs
    assert not re.search(f"{owner.first}|{owner.second}|{SITE}", ours)


@pytest.mark.parametrize("export", EXPORTS)
def test_exports_have_nothing_of_another_submitter(owner: Owner, other: str, export: str) -> None:
    """A filter by a label of the other one does not help."""
    url = f"{owner.stack.url}/results?format={export}"
    ours = httpx.get(f"{url}&label.site={SITE}", headers={"x-api-key": other})
    empty = httpx.get(url, headers={"x-api-key": owner.stack.new_key("empty")})

    assert ours.status_code == 200
    assert ours.content == empty.content


def test_an_idempotency_key_of_another_submitter_is_free(owner: Owner, other: str) -> None:
    """The same key with other content does not conflict, and gives another sample."""
    sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2, 3]}

    ours = owner.stack.graphql(SUBMIT, {"s": sample, "k": IDEMPOTENCY_KEY}, key=other)["submit"]

    assert ours["state"] == "PENDING"
    assert ours["id"] != owner.first
    owner.stack.graphql("mutation ($id: ID!) { deleteSamples(ids: [$id]) { id } }", {"id": ours["id"]}, key=other)


def test_a_subscription_after_a_cursor_of_another_submitter_has_own_results_only(owner: Owner) -> None:
    """The first event is about the own sample, although the other submitter has results after the cursor."""
    key = owner.stack.new_key("subscribes", "submit,read,admin")
    own = owner.stack.submit_fixture(key=key)["id"]

    first = next(events(owner.stack, {"x-api-key": key}, WATCH, {"after": owner.cursor}))
    delete = "mutation ($id: ID!) { deleteSamples(ids: [$id]) { id } }"
    owner.stack.graphql(delete, {"id": own}, key=key)
    removal = next(events(owner.stack, {"x-api-key": key}, REMOVALS, {"after": owner.cursor}))

    assert first["results"]["node"]["id"] == own
    assert removal["removals"]["node"]["id"] == own


def test_the_keys_and_the_log_of_another_submitter_are_not_listed(owner: Owner, other: str) -> None:
    """The owner has entries about its deletion and its recomputation."""
    keys = owner.stack.graphql("{ apiKeys { digest } }", key=other)["apiKeys"]
    log = owner.stack.graphql(ENTRIES, key=other)["auditLog"]

    assert [each["digest"] for each in keys] == [digest(other)]
    assert all(each["actor"] == f"key {digest(other)[:12]}" for each in log)
    assert owner.stack.graphql(ENTRIES, key=owner.key)["auditLog"]
