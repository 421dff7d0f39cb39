"""What an entry of the audit log says: its fields, and the sentence that is derived from them."""

import json
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from graphql_api.auth import audit_log
from graphql_api.auth.audit_entry import MAX_SAMPLE_IDS, AuditFacts, facts_of_samples
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.secret_text import digest
from graphql_api.budgets.loop_turns import LoopTurns
from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.stack import Stack, eventually

SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}
FACTS = "keyDigest label change deletion recomputation sampleIds sampleCount filter issuer subject reason"
LOG = f"{{ auditLog(first: 500) {{ action actor details {FACTS} }} }}"
DELETE = """mutation ($ids: [ID!], $filter: SampleFilter) {
    deleteSamples(ids: $ids, filter: $filter, reason: "wrong sensor") { id } }"""
RECOMPUTE = "mutation ($ids: [ID!], $filter: ResultFilter) { recompute(ids: $ids, filter: $filter) { id } }"
FINISHED = "query ($id: ID!) { deletion(id: $id) { state } recomputation(id: $id) { state } }"


def newest(stack: Stack, key: str, action: str) -> dict[str, Any]:
    """Return the fields of the newest entry of an action that are set."""
    entry = next(each for each in stack.graphql(LOG, key=key)["auditLog"] if each["action"] == action)
    return {name: value for name, value in entry.items() if value not in (None, []) and name not in ("action", "actor")}


def run(stack: Stack, key: str, mutation: str, **variables: Any) -> str:
    """Start a deletion or recomputation. Return its id when it has ended."""
    ((_, started),) = stack.graphql(mutation, variables, key=key).items()

    def is_over() -> bool:
        found = stack.graphql(FINISHED, {"id": started["id"]}, key=key)
        return any(each is not None and each["state"] != "RUNNING" for each in found.values())

    eventually(is_over, lambda: stack.log)
    return str(started["id"])


def test_a_deletion_says_which_samples_or_which_filter_and_why(stack: Stack) -> None:
    """The filter is JSON, with the names of the argument."""
    key = stack.new_key("says-what", "submit,read,admin")
    sample_ids = [stack.submit(SAMPLE, key=key)["id"] for _ in range(2)]

    deletion = run(stack, key, DELETE, ids=[*sample_ids, "not an id"])

    assert newest(stack, key, "samples.deleted") == {
        "deletion": deletion,
        "sampleIds": sample_ids,
        "sampleCount": 3,
        "reason": "wrong sensor",
        "details": f"deletion {deletion} of 3 ids: wrong sensor",
    }
    labels = [{"name": "site", "value": "bern"}]
    times = {"gte": "2019-05-01T06:00:00Z", "lt": "2019-06-01T00:00:00Z"}
    deletion = run(stack, key, DELETE, filter={"state": "REJECTED", "submittedAt": times, "labels": labels})
    entry = newest(stack, key, "samples.deleted")
    assert json.loads(entry["filter"]) == {"state": "REJECTED", "submittedAt": times, "labels": {"site": "bern"}}
    assert (
        entry["details"] == f"deletion {deletion} of everything that passes the filter {entry['filter']}: wrong sensor"
    )


def test_a_deletion_over_http_says_which_sample_and_why(stack: Stack) -> None:
    """In the same fields."""
    key = stack.new_key("says-http", "submit,read,admin")
    sample_id = stack.submit(SAMPLE, key=key)["id"]

    httpx.delete(f"{stack.url}/samples/{sample_id}", params={"reason": "moved"}, headers={"x-api-key": key})

    assert newest(stack, key, "samples.deleted") == {
        "sampleIds": [sample_id],
        "sampleCount": 1,
        "reason": "moved",
        "details": f"sample {sample_id}: moved",
    }


def test_a_recomputation_says_which_samples_or_which_filter(stack: Stack) -> None:
    """Without both, it is all outdated results."""
    key = stack.new_key("says-recomputed", "submit,read,admin")
    sample_id = stack.submit(SAMPLE, key=key)["id"]
    entries = []
    for variables in ({}, {"filter": {"mean": {"gt": 1.5}}}, {"ids": [sample_id]}):
        started = run(stack, key, RECOMPUTE, **variables)
        entries.append(newest(stack, key, "results.recomputed"))
        assert entries[-1].pop("recomputation") == started
        entries[-1]["details"] = entries[-1]["details"].replace(started, "ID")

    of_filter = '{"mean": {"gt": 1.5}}'
    assert entries == [
        {"details": "recomputation ID of all outdated results"},
        {"details": f"recomputation ID of everything that passes the filter {of_filter}", "filter": of_filter},
        {"details": f"recomputation ID of sample {sample_id}", "sampleIds": [sample_id], "sampleCount": 1},
    ]


def test_an_entry_about_a_key_has_its_digest_and_label(stack: Stack) -> None:
    """The command line prints the same fields."""
    key = stack.new_key("says-key", "admin", "--label", "roof sensor")

    entry = newest(stack, key, "key.created")

    name = digest(key)[:12]
    assert entry == {
        "keyDigest": digest(key),
        "label": "roof sensor",
        "change": "scopes admin",
        "details": f'key {name} "roof sensor" scopes admin',
    }
    (printed,) = map(json.loads, stack.keys("audit", "--submitter", "says-key").splitlines())
    assert {printed[name] for name in ("key_digest", "label", "change", "details")} == set(entry.values())


def test_an_entry_of_an_earlier_version_can_still_be_read(stack: Stack) -> None:
    """It has a text only."""
    key = stack.new_key("says-earlier", "admin")
    entry = {"at": datetime.now(UTC), "actor": "operator", "action": "key.revoked", "details": "key 0123456789ab"}
    stack.firestore().document(document_paths.audit_entry("says-earlier", str(uuid4()))).set(entry)

    assert newest(stack, key, "key.revoked") == {"details": "key 0123456789ab"}
    (printed,) = map(json.loads, stack.keys("audit", "--submitter", "says-earlier").splitlines())
    assert printed["details"] == "key 0123456789ab"


def test_an_entry_has_a_bounded_number_of_ids() -> None:
    """A text that is not an id could have any length. Repeated ids are listed once."""
    ids = [str(uuid4()) for _ in range(MAX_SAMPLE_IDS + 10)]

    facts = facts_of_samples(["x" * 10_000, ids[0], *ids], deletion="one")

    assert facts.sample_ids == tuple(ids[:MAX_SAMPLE_IDS])
    assert facts.sample_count == len(ids) + 2
    assert AuditFacts.from_fields(facts.fields()).fields() == facts.fields()


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (AuditFacts(), ""),
        (AuditFacts(change="skipped"), "skipped"),
        (AuditFacts(reason="an unknown sign-in link"), "an unknown sign-in link"),
        (AuditFacts(key_digest="0" * 64, label="", reason="expired"), "key 000000000000: expired"),
        (AuditFacts(issuer="https://a", subject="b", reason="expired"), "issuer https://a, subject b: expired"),
    ],
)
def test_the_sentence_says_what_the_fields_say(facts: AuditFacts, sentence: str) -> None:
    """Facts that do not apply are left out."""
    assert facts.sentence == sentence


async def test_a_name_that_a_client_has_chosen_gets_no_log_without_documents(
    own_firestore: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry would be its first document. Rollups and audits would read this submitter every minute for 400 days."""
    monkeypatch.setattr(audit_log, "_MISSING_SECONDS", 0.0)
    writer = GroupCommitWriter(own_firestore, timeout_seconds=30)
    log, name = AuditLog(own_firestore, writer, LoopTurns(), lambda: date(2026, 1, 1)), str(uuid4())

    async def noted() -> int:
        log.add_once_per_day(name, "a key", actor="a key", action="submitter.read", facts=AuditFacts(), is_claimed=True)
        await log.wait()
        return len(await log.read(name, 10))

    assert [await noted(), await noted()] == [0, 0]
    assert name not in await own_firestore.document_ids(document_paths.SUBMITTERS)

    sample = own_firestore.name(document_paths.sample(name, str(uuid4())))
    await writer.write(encoding.to_write(sample, {"shard": 0}))
    assert [await noted(), await noted()] == [1, 1]
    await writer.close()
