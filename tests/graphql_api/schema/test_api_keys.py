"""Key management through the API, and the audit log."""

import json
import re

import httpx
import pytest

from graphql_api.auth.secret_text import digest
from tests.stack import Stack, eventually

KEY = "digest label scopes createdAt expiresAt revokedAt lastUsedOn isValid"
KEYS = f"{{ apiKeys {{ {KEY} }} }}"
CREATE = f"""mutation ($scopes: [ApiScope!]!, $label: String!, $days: Int) {{
  createApiKey(scopes: $scopes, label: $label, expiresInDays: $days) {{ secret apiKey {{ {KEY} }} }}
}}"""
ROTATE = f"""mutation ($digest: String!, $days: Int = 1) {{
  rotateApiKey(digest: $digest, overlapDays: $days) {{ secret apiKey {{ {KEY} }} }}
}}"""
REVOKE = f"mutation ($digest: String!) {{ revokeApiKey(digest: $digest) {{ {KEY} }} }}"
AUDIT = (
    "query ($first: Int!, $before: DateTime) { auditLog(first: $first, before: $before) { at actor action details } }"
)

SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}


def test_an_admin_creates_rotates_and_revokes_keys_of_its_submitter(stack: Stack) -> None:
    """The audit log says which credential did what. The key itself is nowhere."""
    admin = stack.new_key("manages", "submit,read,admin")
    actor = f"key {digest(admin)[:12]}"

    variables = {"scopes": ["SUBMIT"], "label": "roof sensor", "days": 30}
    created = stack.graphql(CREATE, variables, key=admin)["createApiKey"]
    assert created["apiKey"]["digest"] == digest(created["secret"])
    assert stack.submit(SAMPLE, key=created["secret"])["state"] == "PENDING"

    rotated = stack.graphql(ROTATE, {"digest": digest(created["secret"])[:12], "days": 1}, key=admin)["rotateApiKey"]
    assert {name: rotated["apiKey"][name] for name in ("label", "scopes")} == {
        "label": "roof sensor",
        "scopes": ["SUBMIT"],
    }
    for secret in (created["secret"], rotated["secret"]):
        assert stack.submit(SAMPLE, key=secret)["state"] == "PENDING"

    revoked = stack.graphql(REVOKE, {"digest": digest(rotated["secret"])}, key=admin)["revokeApiKey"]
    assert revoked["isValid"] is False
    eventually(lambda: stack.post_graphql("{ __typename }", key=rotated["secret"]).status_code == 401)

    keys = {each["digest"]: each for each in stack.graphql(KEYS, key=admin)["apiKeys"]}
    assert set(keys) == {digest(admin), digest(created["secret"]), digest(rotated["secret"])}
    assert keys[digest(created["secret"])]["expiresAt"] < created["apiKey"]["expiresAt"]
    refused = ("key.refused", f"key {digest(rotated['secret'])[:12]}")
    eventually(
        lambda: (
            refused
            in [(each["action"], each["actor"]) for each in stack.graphql(AUDIT, {"first": 10}, key=admin)["auditLog"]]
        )
    )
    entries = stack.graphql(AUDIT, {"first": 10}, key=admin)["auditLog"]
    log = [each for each in entries if each["action"] != "key.refused"]
    assert [(each["action"], each["actor"]) for each in log[:4]] == [
        ("key.revoked", actor),
        ("key.rotated", actor),
        ("key.created", actor),
        ("key.created", actor),
    ]
    assert all(re.search("key [0-9a-f]{12}", each["details"]) for each in log)
    assert created["secret"] not in json.dumps(log)
    older = stack.graphql(AUDIT, {"first": 1, "before": log[0]["at"]}, key=admin)["auditLog"]
    assert older == log[1:2]


def test_no_admin_reaches_the_keys_or_the_log_of_another_submitter(stack: Stack) -> None:
    """Another submitter's digest gets the same answer as one that does not exist."""
    admin, other = stack.new_key("first-admin", "admin"), stack.new_key("second-admin", "read,admin")

    responses = [
        stack.post_graphql(operation, {"digest": value}, key=admin).json()["errors"][0]
        for operation in (REVOKE, ROTATE)
        for value in (digest(other), "0" * 64)
    ]

    assert {(error["message"], error["extensions"]["code"]) for error in responses} == {
        ("no API key has this digest", "NOT_FOUND")
    }
    assert [each["digest"] for each in stack.graphql(KEYS, key=admin)["apiKeys"]] == [digest(admin)]
    assert stack.post_graphql("{ __typename }", key=other).status_code == 200


@pytest.mark.parametrize("text", ["", "0123456", "________", "/////////", "0123456g", "ABCDEFG1", "0" * 65])
def test_a_digest_has_8_to_64_hexadecimal_digits(stack: Stack, text: str) -> None:
    """Firestore refuses some other texts as ids. The response was an internal error."""
    admin = stack.new_key("mistypes", "admin")

    error = stack.post_graphql(REVOKE, {"digest": text}, key=admin).json()["errors"][0]

    expected = f"expected 8 to 64 hexadecimal digits from the start of the digest of a key, got {text[:40]}"
    assert error["message"].removesuffix("…") == expected
    assert error["extensions"]["code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("scopes", "label", "days"),
    [(["SUBMIT"], "", None), ([], "", None), (["ADMIN"], "a" * 101, None), (["ADMIN"], "\n", None), (["ADMIN"], "", 0)],
)
def test_a_key_cannot_have_more_than_its_creator_or_odd_values(
    stack: Stack, scopes: list[str], label: str, days: int | None
) -> None:
    """The creator has the scope `admin` only."""
    admin = stack.new_key("only-admin", "admin")

    response = stack.post_graphql(CREATE, {"scopes": scopes, "label": label, "days": days}, key=admin).json()

    assert response["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


def test_the_label_of_a_key_can_have_emoji_with_joiners(stack: Stack) -> None:
    """As the labels of samples."""
    admin = stack.new_key("joiners", "admin")
    variables = {"scopes": ["ADMIN"], "label": "\N{WOMAN}\u200d\N{MICROSCOPE}", "days": None}

    assert stack.graphql(CREATE, variables, key=admin)["createApiKey"]["apiKey"]["label"] == variables["label"]


def test_recomputations_and_deletions_are_in_the_log(stack: Stack) -> None:
    """With the id of what was started, or of the sample."""
    admin = stack.new_key("audited", "submit,read,admin")
    sample_id = stack.submit(SAMPLE, key=admin)["id"]
    stack.graphql("mutation ($ids: [ID!]) { recompute(ids: $ids) { id } }", {"ids": [sample_id]}, key=admin)

    httpx.delete(f"{stack.url}/samples/{sample_id}", headers={"x-api-key": admin})

    log = stack.graphql(AUDIT, {"first": 2}, key=admin)["auditLog"]
    assert [each["action"] for each in log] == ["samples.deleted", "results.recomputed"]
    assert log[0]["details"] == f"sample {sample_id}"


def test_the_day_of_the_last_use_is_stored_once(stack: Stack) -> None:
    """Not the time: a write for each request would be too many."""
    admin = stack.new_key("used", "admin")

    keys = eventually(lambda: (found := stack.graphql(KEYS, key=admin)["apiKeys"])[0]["lastUsedOn"] and found)

    assert keys[0]["lastUsedOn"].endswith("T00:00:00Z")
    document = stack.firestore().collection("api_keys").document(digest(admin))
    updated = document.get().update_time
    stack.graphql(KEYS, key=admin)
    assert document.get().update_time == updated


def test_the_command_rotates_keys_and_lists_them_as_json(stack: Stack) -> None:
    """Both keys work during the overlap. The old one expires after it."""
    old = stack.new_key("rotated", "submit", "--label", "pump")

    new = stack.keys("rotate", "--digest", digest(old)[:12], "--overlap-days", "2").strip()

    listed = [json.loads(line) for line in stack.keys("list", "--submitter", "rotated", "--json").splitlines()]
    by_digest = {each["digest"]: each for each in listed}
    assert set(by_digest) == {digest(old), digest(new)}
    assert by_digest[digest(old)]["expires"] is not None
    assert by_digest[digest(new)] | {"created": ""} == {
        "digest": digest(new),
        "submitter": "rotated",
        "scopes": ["submit"],
        "label": "pump",
        "created": "",
        "expires": None,
        "revoked": None,
        "last_used": None,
        "limits": None,
    }


def test_the_command_sets_limits_of_a_key(stack: Stack) -> None:
    """They are listed, and an admin of the submitter sees them."""
    key = stack.new_key("key-limits", "admin", "--requests-per-second", "1000", "--sample-mib-per-second", "2")

    (listed,) = stack.keys("list", "--submitter", "key-limits", "--json").splitlines()
    assert json.loads(listed)["limits"] == {"requests_per_second": 1000, "sample_mib_per_second": 2}
    own = "{ apiKeys { limits { requestsPerSecond samplesPerSecond sampleMibPerSecond } } }"
    (seen,) = stack.graphql(own, key=key)["apiKeys"]
    assert seen["limits"] == {"requestsPerSecond": 1000, "samplesPerSecond": None, "sampleMibPerSecond": 2}


@pytest.mark.parametrize("value", ["0", "1.5"])
def test_the_command_refuses_odd_limits(stack: Stack, capsys: pytest.CaptureFixture[str], value: str) -> None:
    """No key is created."""
    with pytest.raises(SystemExit) as refused:
        stack.keys("create", "--submitter", "odd-limits", f"--requests-per-second={value}")

    assert refused.value.code == 2
    assert "expected a whole number from 1 to 900,000,000" in capsys.readouterr().err


def test_samples_and_results_say_which_credential_submitted_them(stack: Stack) -> None:
    """By its label, or by the start of the digest if it has none. Also large samples and those of streams."""
    labelled = stack.new_key("credentials", label="roof sensor")
    unlabelled = stack.new_key("credentials")
    large = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1.25] * 100_000}
    ids = {stack.submit(sample, key=labelled)["id"]: "roof sensor" for sample in (SAMPLE, large)}
    headers = {"x-api-key": unlabelled, "content-type": "application/x-ndjson"}
    line = httpx.post(f"{stack.url}/samples", content=json.dumps(SAMPLE), headers=headers).json()
    ids[line["id"]] = f"key {digest(unlabelled)[:12]}"

    for sample_id, label in ids.items():
        stack.wait_for(sample_id, key=labelled)
        query = "query ($id: ID!) { sample(id: $id) { submittedBy } result(id: $id) { submittedBy } }"
        seen = stack.graphql(query, {"id": sample_id}, key=labelled)
        assert seen == {"sample": {"submittedBy": label}, "result": {"submittedBy": label}}
    listed = stack.graphql("{ samples(first: 10) { edges { node { id submittedBy } } } }", key=labelled)
    assert {edge["node"]["id"]: edge["node"]["submittedBy"] for edge in listed["samples"]["edges"]} == ids


def test_a_session_submits_with_the_label_of_its_key(stack: Stack) -> None:
    """It stands for the key."""
    key = stack.new_key("session-label", label="laptop")
    cookie = httpx.post(f"{stack.url}/session", headers={"x-api-key": key}).headers["set-cookie"].partition(";")[0]

    receipt = httpx.post(f"{stack.url}/samples", json=SAMPLE, headers={"cookie": cookie, "origin": stack.url}).json()

    query = "query ($id: ID!) { sample(id: $id) { submittedBy } }"
    assert stack.graphql(query, {"id": receipt["id"]}, key=key) == {"sample": {"submittedBy": "laptop"}}
