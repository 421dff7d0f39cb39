"""Deleted samples leave a tombstone and nothing else. Superseded results leave all lists."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from google.cloud.firestore import Client

from storage.documents import Tombstone, document_paths
from storage.documents.chunks import MAX_INLINE_BYTES
from tests.graphql_api.results.operator import COUNTS, DELETE, SAMPLE, Operator
from tests.graphql_api.schema.subscriber import first_events
from tests.stack import Stack, eventually

LOOKED_UP = """query ($id: ID!) { sample(id: $id) { state } result(id: $id) { mean }
    deletedSample(id: $id) { id sha256 deletedAt reason } }"""
LISTED = "{" + " ".join(
    f"{state}: samples(filter: {{state: {state}}}) {{ edges {{ node {{ id }} }} }}"
    for state in ("PENDING", "DELETED", "COMPUTED")
) + "}"  # fmt: skip
NEWEST = "{ results(orderBy: {field: COMPUTED_AT, direction: DESC}, first: 1) { edges { cursor } } }"
REMOVALS = "subscription ($after: String) { removals(after: $after) { cursor node { id reason supersededBy } } }"


def test_a_deleted_sample_leaves_a_tombstone(stack: Stack, firestore: Client) -> None:
    """Lists, counts and summaries do not contain it, and its chunks are deleted."""
    large = {"time_stamp": "2019-05-01T06:00:00Z", "data": [0.5] * (MAX_INLINE_BYTES // 2)}
    operator = Operator(stack, "deleted", [SAMPLE, large, {"time_stamp": "never", "data": [1]}, SAMPLE])
    *wrong, right = operator.ids
    digest = operator.query("query ($id: ID!) { sample(id: $id) { sha256 } }", id=wrong[0])["sample"]["sha256"]

    ended = operator.delete(ids=[*wrong, wrong[0], "00000000-0000-4000-8000-000000000000"])

    assert ended == {"state": "FINISHED", "deleted": 3}
    assert operator.query(COUNTS) == {
        "samples": {"totalCount": 1},
        "results": {"totalCount": 1},
        "resultsSummary": {"results": 1, "median": pytest.approx(1.5, rel=0.010001)},
        "pending": {"totalCount": 0},
        "deleted": {"totalCount": 0},  # tombstones are not samples
    }
    found = operator.query(LOOKED_UP, id=wrong[0])
    assert (found["sample"], found["result"]) == (None, None)
    assert found["deletedSample"] == {
        "id": wrong[0],
        "sha256": digest,
        "deletedAt": found["deletedSample"]["deletedAt"],
        "reason": "wrong sensor",
    }
    assert operator.query(LOOKED_UP, id=right)["deletedSample"] is None
    samples = firestore.collection(f"{document_paths.submitter('deleted')}/{document_paths.SAMPLES}")
    assert [document.id for document in samples.list_documents()] == [right]  # also lists parents of chunks


def test_samples_are_deleted_by_labels_and_state(stack: Stack) -> None:
    """A filter that selects everything is refused, because it is likely a mistake."""
    rejected = {"time_stamp": "never", "data": [1], "labels": {"site": "bern"}}
    operator = Operator(stack, "deleted-by-filter", [SAMPLE, rejected, {**SAMPLE, "labels": {"site": "basel"}}])
    bern = [{"name": "site", "value": "bern"}]

    selections: list[dict[str, Any]] = [{"filter": {}}, {}, {"ids": [], "filter": {"labels": bern}}]
    refused = [operator.error(DELETE, **selection) for selection in selections]
    only_rejected = operator.delete(filter={"labels": bern, "state": "REJECTED"})
    rest = operator.delete(filter={"labels": bern})

    assert [error["extensions"]["code"] for error in refused] == ["BAD_REQUEST"] * 3
    assert [error["message"].rpartition(", got ")[2] for error in refused[1:]] == ["neither", "both"]
    assert [only_rejected["deleted"], rest["deleted"]] == [1, 1]
    assert operator.query(COUNTS)["samples"]["totalCount"] == 1


def test_results_that_outlive_their_samples_are_deleted_by_id_and_by_filter(stack: Stack, firestore: Client) -> None:
    """Such a result has no digest of its sample, and cannot be superseded."""
    failed = {**SAMPLE, "labels": {"site": "chur"}}
    operator = Operator(stack, "outlived", [SAMPLE, failed, SAMPLE, {**SAMPLE, "labels": {"site": "basel"}}, SAMPLE])
    documents = [firestore.document(document_paths.sample("outlived", sample_id)) for sample_id in operator.ids]
    submitted_at = [document.get().get("submitted_at") for document in documents]
    operator.fail(firestore, operator.ids[1])
    for document in documents[:4]:
        document.delete()  # as when it expires
    correct = "mutation ($sample: RawSample!, $id: ID!) { submit(sample: $sample, supersedes: $id) { id } }"

    refused = operator.error(correct, sample=SAMPLE, id=operator.ids[0])
    by_id = [operator.delete(ids=[operator.ids[0]])["deleted"] for _ in range(2)]
    found = operator.query(LOOKED_UP, id=operator.ids[0])
    by_state = operator.delete(filter={"state": "FAILED"})
    by_labels = operator.delete(filter={"labels": [{"name": "site", "value": "basel"}], "state": "COMPUTED"})
    by_time = [
        operator.delete(filter={"submittedAt": {operator_name: submitted_at[2].isoformat()}})
        for operator_name in ("lt", "lte")
    ]

    assert refused["extensions"]["code"] == "NOT_FOUND"
    assert "has expired" in refused["message"]
    assert by_id == [1, 0]
    assert found["result"] is None
    assert (found["deletedSample"]["sha256"], found["deletedSample"]["reason"]) == ("", "wrong sensor")
    assert [ended["deleted"] for ended in (by_state, by_labels, *by_time)] == [1, 1, 0, 1]
    counts = operator.query(COUNTS)
    assert [counts[name]["totalCount"] for name in ("samples", "results", "pending")] == [1, 1, 0]
    assert operator.query(LOOKED_UP, id=operator.ids[-1])["result"] == {"mean": 1.5}


def outlived_by_a_rejected_sample(operator: Operator, firestore: Client) -> str:
    """Return the id of a result whose sample has expired, and of a REJECTED sample with other labels."""
    later = {"time_stamp": "never", "data": [1], "labels": {"site": "basel"}}
    receipt = operator.stack.submit(SAMPLE, key=operator.key, idempotency_key="once")
    operator.stack.wait_for(receipt["id"], key=operator.key)
    firestore.document(document_paths.sample(operator.submitter, receipt["id"])).delete()  # as when it expires
    assert operator.stack.submit(later, key=operator.key, idempotency_key="once")["id"] == receipt["id"]
    return str(receipt["id"])


def test_a_result_that_outlives_its_sample_is_deleted_without_a_later_sample(stack: Stack, firestore: Client) -> None:
    """The later sample has the same idempotency key. The filter does not select it."""
    operator = Operator(stack, "outlived-again", [])
    sample_id = outlived_by_a_rejected_sample(operator, firestore)

    ended = operator.delete(filter={"labels": [{"name": "site", "value": "bern"}], "state": "COMPUTED"})

    assert ended == {"state": "FINISHED", "deleted": 1}
    found = operator.query(LOOKED_UP, id=sample_id)
    assert found == {"sample": {"state": "REJECTED"}, "result": None, "deletedSample": None}


def test_a_sample_is_deleted_without_the_kept_result_of_an_earlier_sample(stack: Stack, firestore: Client) -> None:
    """The result gets a new id, because the record of the deletion has the id of the sample."""
    operator = Operator(stack, "outlived-by-rejected", [])
    sample_id = outlived_by_a_rejected_sample(operator, firestore)

    ended = operator.delete(filter={"state": "REJECTED"})

    assert ended == {"state": "FINISHED", "deleted": 1}
    found = operator.query(LOOKED_UP, id=sample_id)
    assert (found["sample"], found["result"], found["deletedSample"]["reason"]) == (None, None, "wrong sensor")
    assert operator.query("{ results { edges { node { mean labels { value } } } } }") == {
        "results": {"edges": [{"node": {"mean": 1.5, "labels": [{"value": "bern"}]}}]}
    }
    assert operator.delete(filter={"state": "COMPUTED"})["deleted"] == 1


def test_ids_select_both_a_sample_and_the_kept_result_of_an_earlier_sample(stack: Stack, firestore: Client) -> None:
    """The user asks for everything with this id."""
    operator = Operator(stack, "outlived-by-id", [])
    sample_id = outlived_by_a_rejected_sample(operator, firestore)

    ended = operator.delete(ids=[sample_id])

    assert ended == {"state": "FINISHED", "deleted": 1}
    assert operator.query(COUNTS)["results"]["totalCount"] == 0


def test_a_late_event_does_not_bring_a_result_back(stack: Stack, firestore: Client) -> None:
    """The event of the deleted version is older than the tombstone. A new submission replaces the tombstone."""
    operator = Operator(stack, "late", [])
    receipt = stack.submit(SAMPLE, key=operator.key, idempotency_key="once")
    operator.delete(ids=[receipt["id"]])  # the event may still be on its way
    tombstone = firestore.document(document_paths.result("late", receipt["id"]))
    eventually(lambda: tombstone.get().get("status") == "DELETED")

    again = stack.submit(SAMPLE, key=operator.key, idempotency_key="once")

    assert again["id"] == receipt["id"]
    eventually(lambda: operator.query(LOOKED_UP, id=again["id"])["result"] == {"mean": 1.5}, lambda: stack.log)
    assert operator.query(LOOKED_UP, id=again["id"])["deletedSample"] is None


@pytest.mark.parametrize(("minutes", "state"), [(-1, "PENDING"), (1, "DELETED")])
def test_the_tombstone_of_an_earlier_sample_is_not_the_state_of_a_new_one(
    stack: Stack, firestore: Client, minutes: int, state: str
) -> None:
    """A sample that is submitted again is PENDING. A sample that is deleted until its header is gone is DELETED."""
    submitter = f"again-{state.lower()}"
    operator = Operator(stack, submitter, [SAMPLE])
    (sample_id,) = operator.ids
    submitted_at = firestore.document(document_paths.sample(submitter, sample_id)).get().get("submitted_at")
    tombstone = Tombstone(submitter, sample_id, "", 0, submitted_at + timedelta(minutes=minutes), "")
    result = firestore.document(document_paths.result(submitter, sample_id))
    result.set({**tombstone.fields(), "computed_at": submitted_at})

    found = operator.query(LOOKED_UP, id=sample_id)
    listed = operator.query(LISTED)

    assert found["sample"]["state"] == state
    assert (found["deletedSample"] is None) == (state == "PENDING")
    assert {name: len(page["edges"]) for name, page in listed.items()} == {
        "PENDING": state == "PENDING",
        "DELETED": state == "DELETED",
        "COMPUTED": 0,
    }


def test_one_sample_is_deleted_over_http(stack: Stack) -> None:
    """It needs the scope admin."""
    operator = Operator(stack, "http-delete", [SAMPLE])
    url = f"{stack.url}/samples/{operator.ids[0]}"
    reader = stack.new_key("http-delete", "submit,read")

    forbidden = httpx.delete(url, headers={"x-api-key": reader})
    too_long = httpx.delete(url, params={"reason": "x" * 201}, headers={"x-api-key": operator.key})
    deleted = httpx.delete(url, params={"reason": "moved"}, headers={"x-api-key": operator.key})
    missing = httpx.delete(url, headers={"x-api-key": operator.key})

    statuses = [response.status_code for response in (forbidden, too_long, deleted, missing)]
    assert statuses == [403, 400, 204, 404]
    assert operator.query(LOOKED_UP, id=operator.ids[0])["deletedSample"]["reason"] == "moved"


def test_a_subscriber_learns_of_a_deletion(stack: Stack) -> None:
    """It resumes after a result, and receives the deletions since then."""
    operator = Operator(stack, "watched-deletions", [SAMPLE, SAMPLE])
    (edge,) = operator.query(NEWEST)["results"]["edges"]
    operator.delete(ids=operator.ids)
    received = first_events(stack, operator.key, REMOVALS, {"after": edge["cursor"]}, 2)

    nodes = [event["removals"]["node"] for event in received]
    assert {node["id"] for node in nodes} == set(operator.ids)
    assert {(node["reason"], node["supersededBy"]) for node in nodes} == {("wrong sensor", None)}


def test_a_subscriber_learns_of_a_superseded_sample(stack: Stack) -> None:
    """It receives the id of the correction. The result of the correction is not a removal."""
    operator = Operator(stack, "watched-corrections", [SAMPLE, SAMPLE])
    (edge,) = operator.query(NEWEST)["results"]["edges"]
    submit = "mutation ($sample: RawSample!, $id: ID!) { submit(sample: $sample, supersedes: $id) { id } }"
    corrections = []
    for wrong in operator.ids:
        corrections.append(operator.query(submit, sample=SAMPLE, id=wrong)["submit"]["id"])
        stack.wait_for(wrong, "SUPERSEDED", key=operator.key)

    received = first_events(stack, operator.key, REMOVALS, {"after": edge["cursor"]}, 2)
    resumed = first_events(stack, operator.key, REMOVALS, {"after": received[0]["removals"]["cursor"]}, 1)

    nodes = [event["removals"]["node"] for event in received]
    assert [(node["id"], node["supersededBy"]) for node in nodes] == list(zip(operator.ids, corrections, strict=True))
    assert {node["reason"] for node in nodes} == {""}
    assert resumed == received[1:]
