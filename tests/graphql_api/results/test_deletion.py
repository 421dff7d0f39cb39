"""Deleted samples leave a tombstone and nothing else. Superseded results leave all lists."""

from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from google.cloud.firestore import Client

from storage.documents import Tombstone, document_paths
from storage.documents.chunks import MAX_INLINE_BYTES
from tests.graphql_api.schema.subscriber import first_events
from tests.stack import Stack, eventually

DELETE = """mutation ($ids: [ID!], $filter: SampleFilter, $reason: String! = "wrong sensor") {
    deleteSamples(ids: $ids, filter: $filter, reason: $reason) { id state deleted reason } }"""
PROGRESS = "query ($id: ID!) { deletion(id: $id) { state deleted } }"
COUNTS = """{ samples { totalCount } results { totalCount } resultsSummary { results median }
    pending: samples(filter: {state: PENDING}) { totalCount }
    deleted: samples(filter: {state: DELETED}) { totalCount } }"""
LOOKED_UP = """query ($id: ID!) { sample(id: $id) { state } result(id: $id) { mean }
    deletedSample(id: $id) { id sha256 deletedAt reason } }"""
LISTED = "{" + " ".join(
    f"{state}: samples(filter: {{state: {state}}}) {{ edges {{ node {{ id }} }} }}"
    for state in ("PENDING", "DELETED", "COMPUTED")
) + "}"  # fmt: skip
NEWEST = "{ results(orderBy: {field: COMPUTED_AT, direction: DESC}, first: 1) { edges { cursor } } }"
REMOVALS = "subscription ($after: String) { removals(after: $after) { cursor node { id reason supersededBy } } }"
SUBMIT = """mutation ($sample: RawSample!, $id: ID, $key: String) {
    submit(sample: $sample, supersedes: $id, idempotencyKey: $key) { id state result { mean } } }"""
SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2], "labels": {"site": "bern"}}


class Operator:
    """A submitter with computed samples, and a key with all scopes."""

    def __init__(self, stack: Stack, submitter: str, samples: list[Any]) -> None:
        self.stack, self.submitter = stack, submitter
        self.key = stack.new_key(submitter, "submit,read,admin")
        self.ids = [stack.submit(sample, key=self.key)["id"] for sample in samples]
        for sample_id in self.ids:
            eventually(partial(self._is_final, sample_id), lambda: stack.log)

    def _is_final(self, sample_id: str) -> bool:
        return bool(self.stack.sample(sample_id, key=self.key)["state"] != "PENDING")

    def query(self, document: str, **variables: Any) -> Any:
        """Return the data of a response."""
        return self.stack.graphql(document, variables, key=self.key)

    def error(self, document: str, **variables: Any) -> Any:
        """Return the only error of a response."""
        (error,) = self.stack.post_graphql(document, variables, key=self.key).json()["errors"]
        return error

    def delete(self, **variables: Any) -> Any:
        """Delete samples; return the progress when it has ended."""
        started = self.query(DELETE, **variables)["deleteSamples"]
        assert (started["state"], started["deleted"], started["reason"]) == ("RUNNING", 0, "wrong sensor")
        return eventually(
            lambda: (now := self.query(PROGRESS, id=started["id"])["deletion"])["state"] != "RUNNING" and now,
            lambda: self.stack.log,
        )


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
    assert [only_rejected["deleted"], rest["deleted"]] == [1, 1]
    assert operator.query(COUNTS)["samples"]["totalCount"] == 1


def test_results_that_outlive_their_samples_are_deleted_by_id_and_by_filter(stack: Stack, firestore: Client) -> None:
    """Such a result has no digest of its sample, and cannot be superseded."""
    failed = {**SAMPLE, "labels": {"site": "chur"}}
    operator = Operator(stack, "outlived", [SAMPLE, failed, SAMPLE, {**SAMPLE, "labels": {"site": "basel"}}, SAMPLE])
    documents = [firestore.document(document_paths.sample("outlived", sample_id)) for sample_id in operator.ids]
    submitted_at = [document.get().get("submitted_at") for document in documents]
    documents[1].update({"raw": "{}"})
    stack.wait_for(operator.ids[1], "FAILED", key=operator.key)
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


def test_a_corrected_sample_leaves_lists_and_stays_reachable(stack: Stack) -> None:
    """A rejected correction changes nothing. Subscribers of results receive the new result."""
    operator = Operator(stack, "corrected", [SAMPLE, SAMPLE])
    wrong, right = operator.ids
    submit = """mutation ($sample: RawSample!, $id: ID!, $key: String) {
        submit(sample: $sample, supersedes: $id, idempotencyKey: $key) { id state } }"""
    read = "query ($id: ID!) { sample(id: $id) { state } result(id: $id) { mean supersededBy } }"

    rejected = operator.query(submit, sample={"data": []}, id=wrong)["submit"]
    unchanged = operator.query(read, id=wrong)
    corrected = operator.query(submit, sample={**SAMPLE, "data": [5]}, id=wrong, key="correction")["submit"]
    eventually(lambda: operator.query(read, id=wrong)["sample"]["state"] == "SUPERSEDED", lambda: stack.log)
    eventually(lambda: operator.query(read, id=corrected["id"])["sample"]["state"] == "COMPUTED", lambda: stack.log)
    repeated = operator.query(submit, sample={**SAMPLE, "data": [5]}, id=wrong, key="correction")["submit"]
    missing = operator.error(submit, sample=SAMPLE, id="00000000-0000-4000-8000-000000000000")

    assert (rejected["state"], unchanged["sample"]["state"]) == ("REJECTED", "COMPUTED")
    assert operator.query(read, id=wrong)["result"] == {"mean": 1.5, "supersededBy": corrected["id"]}
    listed = operator.query("{ results { edges { node { id } } } }")["results"]["edges"]
    assert {edge["node"]["id"] for edge in listed} == {right, corrected["id"]}
    summary = operator.query("{ resultsSummary { mean median } }")["resultsSummary"]
    assert summary == {"mean": (1 + 2 + 5) / 3, "median": pytest.approx(2, rel=0.010001)}
    assert repeated["id"] == corrected["id"]
    assert missing["extensions"]["code"] == "NOT_FOUND"
    assert operator.query(COUNTS)["pending"]["totalCount"] == 0


def test_a_sample_cannot_be_superseded_by_a_sample_that_is_superseded(stack: Stack) -> None:
    """Lists would contain neither of them. This could happen if a key is used again for a correction."""
    operator = Operator(stack, "corrected-back", [])
    first = operator.query(SUBMIT, sample=SAMPLE, key="first")["submit"]["id"]
    stack.wait_for(first, key=operator.key)
    second = operator.query(SUBMIT, sample={**SAMPLE, "data": [5]}, key="second", id=first)["submit"]["id"]
    stack.wait_for(first, "SUPERSEDED", key=operator.key)
    stack.wait_for(second, key=operator.key)

    refused = operator.error(SUBMIT, sample=SAMPLE, key="first", id=second)
    back = operator.query(SUBMIT, sample=SAMPLE, key="third", id=second)["submit"]["id"]
    stack.wait_for(second, "SUPERSEDED", key=operator.key)
    stack.wait_for(back, key=operator.key)

    assert refused["extensions"]["code"] == "CONFLICT"
    assert f"the sample {first}, which is superseded itself" in refused["message"]
    listed = operator.query("{ results { edges { node { id } } } }")["results"]["edges"]
    assert [edge["node"]["id"] for edge in listed] == [back]


def test_a_repeated_submission_returns_the_sample_as_it_is_now(stack: Stack) -> None:
    """Also if the sample that it corrects was deleted, or if it was corrected itself since."""
    operator = Operator(stack, "repeats", [SAMPLE])
    (wrong,) = operator.ids
    correction = {"sample": {**SAMPLE, "data": [5]}, "key": "correction", "id": wrong}
    submitted = operator.query(SUBMIT, **correction)["submit"]
    stack.wait_for(submitted["id"], key=operator.key)

    repeated = operator.query(SUBMIT, **correction)["submit"]
    operator.delete(ids=[wrong])
    after_deletion = operator.query(SUBMIT, **correction)["submit"]
    operator.query(SUBMIT, sample=SAMPLE, id=submitted["id"])
    stack.wait_for(submitted["id"], "SUPERSEDED", key=operator.key)
    after_correction = operator.query(SUBMIT, **correction)["submit"]
    unknown_key = operator.error(SUBMIT, sample=SAMPLE, key="another", id=wrong)

    assert (submitted["state"], submitted["result"]) == ("PENDING", None)
    computed = {"id": submitted["id"], "state": "COMPUTED", "result": {"mean": 5}}
    assert repeated == after_deletion == computed
    assert after_correction == computed | {"state": "SUPERSEDED"}
    assert unknown_key["extensions"]["code"] == "NOT_FOUND"
