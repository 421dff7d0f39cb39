"""A corrected sample leaves all lists, and stays reachable."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import Client

from storage.documents import document_paths
from tests.graphql_api.results.operator import COUNTS, SAMPLE, Operator
from tests.stack import Stack, eventually

SUBMIT = """mutation ($sample: RawSample!, $id: ID, $key: String) {
    submit(sample: $sample, supersedes: $id, idempotencyKey: $key) { id state result { mean } } }"""


def correct(operator: Operator, earlier_id: str, value: float) -> str:
    """Correct a sample. Return the id of the correction when the correction is computed."""
    correction = operator.query(SUBMIT, sample={**SAMPLE, "data": [value]}, id=earlier_id)["submit"]["id"]
    operator.stack.wait_for(correction, key=operator.key)
    return str(correction)


def listed(operator: Operator) -> list[str]:
    """Return the ids of the listed results."""
    edges = operator.query("{ results { edges { node { id } } } }")["results"]["edges"]
    return [edge["node"]["id"] for edge in edges]


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
    assert set(listed(operator)) == {right, corrected["id"]}
    summary = operator.query("{ resultsSummary { mean median } }")["resultsSummary"]
    assert summary == {"mean": (1 + 2 + 5) / 3, "median": pytest.approx(2, rel=0.010001)}
    assert repeated["id"] == corrected["id"]
    assert missing["extensions"]["code"] == "NOT_FOUND"
    assert operator.query(COUNTS)["pending"]["totalCount"] == 0


def test_a_key_of_another_sample_is_refused_for_a_correction(stack: Stack) -> None:
    """Two samples could correct each other. Lists would contain neither of them."""
    operator = Operator(stack, "corrected-back", [])
    first = operator.query(SUBMIT, sample=SAMPLE, key="first")["submit"]["id"]
    stack.wait_for(first, key=operator.key)
    second = operator.query(SUBMIT, sample={**SAMPLE, "data": [5]}, key="second", id=first)["submit"]["id"]
    stack.wait_for(first, "SUPERSEDED", key=operator.key)
    stack.wait_for(second, key=operator.key)

    refused = operator.error(SUBMIT, sample=SAMPLE, key="first", id=second)
    itself = operator.error(SUBMIT, sample=SAMPLE, key="second", id=second)
    back = operator.query(SUBMIT, sample=SAMPLE, key="third", id=second)["submit"]["id"]
    stack.wait_for(second, "SUPERSEDED", key=operator.key)
    stack.wait_for(back, key=operator.key)

    assert refused["extensions"]["code"] == "CONFLICT"
    assert f"used for the sample {first}, which does not correct the earlier sample" in refused["message"]
    assert itself["extensions"]["code"] == "BAD_REQUEST"
    assert listed(operator) == [back]


@pytest.mark.parametrize("is_member", [False, True])
def test_a_repeated_submission_returns_the_sample_as_it_is_now(stack: Stack, is_member: bool) -> None:
    """Also if the sample that it corrects was deleted, or if it was corrected itself since.

    The idempotency key is an argument, or a member of the sample.
    """
    operator = Operator(stack, f"repeats-{is_member}", [SAMPLE])
    (wrong,) = operator.ids
    right = {**SAMPLE, "data": [5]}
    correction: dict[str, Any] = {"sample": right, "key": "correction", "id": wrong}
    if is_member:
        correction = {"sample": {**right, "idempotency_key": "correction"}, "id": wrong}
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


def test_a_sample_is_superseded_by_one_sample_only(stack: Stack) -> None:
    """Two users correct the same sample. Lists would contain both corrections. A deleted correction does not count."""
    operator = Operator(stack, "corrected-twice", [SAMPLE])
    (wrong,) = operator.ids
    first = operator.query(SUBMIT, sample={**SAMPLE, "data": [5]}, id=wrong)["submit"]["id"]
    stack.wait_for(wrong, "SUPERSEDED", key=operator.key)

    refused = operator.error(SUBMIT, sample={**SAMPLE, "data": [6]}, id=wrong)
    operator.delete(ids=[first])
    second = correct(operator, wrong, 6)

    assert refused["extensions"]["code"] == "CONFLICT"
    assert f"the sample {first} has already corrected the earlier sample" in refused["message"]
    assert listed(operator) == [second]
    superseded_by = "query ($id: ID!) { result(id: $id) { supersededBy } }"
    marked = {"result": {"supersededBy": second}}  # the function writes the mark after the API has responded
    eventually(lambda: operator.query(superseded_by, id=wrong) == marked, lambda: stack.log)


def test_a_deleted_correction_that_is_submitted_again_does_not_count(stack: Stack) -> None:
    """It corrects nothing any more. Otherwise, the earlier sample could never be corrected again."""
    operator = Operator(stack, "corrected-again", [SAMPLE])
    (wrong,) = operator.ids
    first = operator.query(SUBMIT, sample={**SAMPLE, "data": [5]}, id=wrong, key="first")["submit"]["id"]
    stack.wait_for(wrong, "SUPERSEDED", key=operator.key)
    operator.delete(ids=[first])

    again = operator.query(SUBMIT, sample={**SAMPLE, "data": [5]}, key="first")["submit"]["id"]
    stack.wait_for(again, key=operator.key)
    second = correct(operator, wrong, 6)

    assert again == first
    assert sorted(listed(operator)) == sorted([first, second])


@pytest.mark.parametrize("is_expired", [False, True])
def test_the_correction_of_a_deleted_correction_counts(stack: Stack, firestore: Client, is_expired: bool) -> None:
    """Lists would contain two results of one measurement. The deleted correction can have expired before."""
    submitter = f"corrected-chain-{is_expired}"
    operator = Operator(stack, submitter, [SAMPLE])
    (wrong,) = operator.ids
    first = correct(operator, wrong, 5)
    second = operator.query(SUBMIT, sample={**SAMPLE, "data": [6]}, id=first)["submit"]["id"]
    stack.wait_for(first, "SUPERSEDED", key=operator.key)
    if is_expired:
        firestore.document(document_paths.sample(submitter, first)).delete()
    operator.delete(ids=[first])

    refused = operator.error(SUBMIT, sample={**SAMPLE, "data": [7]}, id=wrong)
    operator.delete(ids=[second])
    third = correct(operator, wrong, 7)

    assert refused["extensions"]["code"] == "CONFLICT"
    assert f"the sample {second} has already corrected the earlier sample" in refused["message"]
    assert listed(operator) == [third]


def test_an_expired_correction_counts_because_its_result_is_kept(stack: Stack, firestore: Client) -> None:
    """A second correction would add a second result of the same measurement to lists and summaries."""
    operator = Operator(stack, "expired-correction", [SAMPLE])
    (wrong,) = operator.ids
    first = correct(operator, wrong, 5)
    firestore.document(document_paths.sample("expired-correction", first)).delete()  # as when it expires

    refused = operator.error(SUBMIT, sample={**SAMPLE, "data": [6]}, id=wrong)
    operator.delete(ids=[first])
    second = correct(operator, wrong, 6)

    assert refused["extensions"]["code"] == "CONFLICT"
    assert f"the sample {first} has already corrected the earlier sample and has expired" in refused["message"]
    assert listed(operator) == [second]


def test_an_expired_correction_counts_although_its_result_has_expired(stack: Stack, firestore: Client) -> None:
    """Its values can be in the hourly archive. The earlier sample stays superseded, because its values are wrong."""
    operator = Operator(stack, "expired-without-result", [SAMPLE])
    (wrong,) = operator.ids
    first = correct(operator, wrong, 5)
    stack.wait_for(wrong, "SUPERSEDED", key=operator.key)
    for path in (document_paths.sample, document_paths.result):
        firestore.document(path(operator.submitter, first)).delete()  # as when it expires

    refused = operator.error(SUBMIT, sample={**SAMPLE, "data": [6]}, id=wrong)
    second = operator.query(SUBMIT, sample={**SAMPLE, "data": [6]})["submit"]["id"]
    stack.wait_for(second, key=operator.key)

    assert refused["extensions"]["code"] == "CONFLICT"
    assert "submit the new sample without `supersedes`" in refused["message"]
    assert listed(operator) == [second]


def test_a_corrected_sample_is_kept_until_the_function_has_written_its_result(stack: Stack, firestore: Client) -> None:
    """Its result would stay in lists, or move into the hourly archive, beside the result of the correction."""
    large = {**SAMPLE, "data": [0.123456789] * 30_000}
    operator = Operator(stack, "corrected-before-expiry", [SAMPLE, large, SAMPLE])
    headers = [firestore.document(document_paths.sample(operator.submitter, each)) for each in operator.ids]
    soon, later = (datetime.now(UTC) + timedelta(days=days) for days in (0.5, 50))
    chunks = list(headers[1].collection("chunks").list_documents())
    for document in (*headers[:2], *chunks):
        document.update({"expire_at": soon, "result_expire_at": soon, "archiving": {"expire_at": None}})
    headers[2].update({"expire_at": later})

    for wrong in operator.ids:
        operator.query(SUBMIT, sample={**SAMPLE, "data": [5]}, id=wrong)
        stack.wait_for(wrong, "SUPERSEDED", key=operator.key)

    results = [firestore.document(document_paths.result(operator.submitter, each)) for each in operator.ids[:2]]
    small, large_sample = (document.get().get("expire_at") for document in headers[:2])
    assert min(small, large_sample) > soon + timedelta(days=1)
    assert [document.get().get("expire_at") for document in results] == [small, large_sample]
    assert {document.get().get("expire_at") for document in chunks} == {large_sample}
    assert headers[2].get().get("expire_at") == later


def test_one_of_many_corrections_at_the_same_time_remains(stack: Stack) -> None:
    """The others are refused and not stored."""
    operator = Operator(stack, "corrected-at-once", [SAMPLE])
    (wrong,) = operator.ids

    def correct(value: int) -> Any:
        variables = {"sample": {**SAMPLE, "data": [value]}, "id": wrong}
        return stack.post_graphql(SUBMIT, variables, key=operator.key).json()

    with ThreadPoolExecutor(16) as threads:
        responses = list(threads.map(correct, range(16)))

    (accepted,) = (response["data"]["submit"]["id"] for response in responses if "errors" not in response)
    refused = [response["errors"][0]["extensions"]["code"] for response in responses if "errors" in response]
    assert refused == ["CONFLICT"] * 15
    lists = "{ results { edges { node { id } } } samples { totalCount } }"
    only = {"results": {"edges": [{"node": {"id": accepted}}]}, "samples": {"totalCount": 2}}
    eventually(lambda: operator.query(lists) == only, lambda: stack.log)


@pytest.mark.parametrize("numbers", [1, 200_000])
def test_a_correction_and_its_mark_are_written_together(stack: Stack, numbers: int) -> None:
    """A process that stops between two writes would leave both samples in lists. A large sample is stored in chunks."""
    operator = Operator(stack, f"together-{numbers}", [SAMPLE])
    (wrong,) = operator.ids
    samples = stack.firestore().collection(f"submitters/together-{numbers}/samples")

    right = operator.query(SUBMIT, sample={**SAMPLE, "data": [5] * numbers}, id=wrong)["submit"]["id"]

    marked, stored = samples.document(wrong).get(), samples.document(right).get()
    assert marked.update_time == stored.create_time == marked.get("superseded_at")
