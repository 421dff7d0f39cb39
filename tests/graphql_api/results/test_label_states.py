"""The states of samples with given labels."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.cloud.firestore import Client

from storage.documents import document_paths
from tests.graphql_api.results.test_deletion import SAMPLE, Operator
from tests.stack import Stack, eventually

STATES = ("PENDING", "COMPUTED", "SUPERSEDED", "FAILED", "REJECTED")
COUNTED = "query ($labels: [LabelFilter!], $until: DateTime) {" + " ".join(
    f"{state}: samples(filter: {{state: {state}, labels: $labels, submittedAt: {{lt: $until}}}}) {{ totalCount }}"
    for state in STATES
) + "}"  # fmt: skip
CORRECT = "mutation ($sample: RawSample!, $id: ID!) { submit(sample: $sample, supersedes: $id) { id } }"


@pytest.fixture
def firestore(stack: Stack) -> Iterator[Client]:
    """Return Google's client."""
    client: Any = stack.firestore()  # `close` has no type hints
    yield client
    client.close()


def test_samples_of_each_state_are_counted_by_label(stack: Stack, firestore: Client) -> None:
    """A FAILED result has the labels of its sample, so that it is counted too."""
    submitter = "label-states"
    rejected = {"time_stamp": "never", "data": [1], "labels": {"site": "bern"}}
    operator = Operator(stack, submitter, [SAMPLE, SAMPLE, SAMPLE, rejected, {**SAMPLE, "labels": {"site": "basel"}}])
    failed, wrong, pending, *_ = operator.ids
    firestore.document(document_paths.sample(submitter, failed)).update({"raw": "{}"})
    corrected = operator.query(CORRECT, sample=SAMPLE, id=wrong)["submit"]["id"]
    expected = {failed: "FAILED", wrong: "SUPERSEDED", corrected: "COMPUTED"}
    for sample_id, state in expected.items():
        eventually(lambda: stack.sample(sample_id, key=operator.key)["state"] == state, lambda: stack.log)  # noqa: B023
    firestore.document(document_paths.result(submitter, pending)).delete()

    def count(site: str, until: str | None = None) -> list[int]:
        counted = operator.query(COUNTED, labels=[{"name": "site", "value": site}], until=until)
        return [counted[state]["totalCount"] for state in STATES]

    times = operator.query("{ samples { edges { node { id submittedAt } } } }")["samples"]["edges"]
    corrected_at = next(edge["node"]["submittedAt"] for edge in times if edge["node"]["id"] == corrected)
    assert count("bern") == [1] * 5
    assert count("basel") == [0, 1, 0, 0, 0]
    assert count("bern", until=corrected_at) == [1, 0, 1, 1, 1]
    assert count("bern", until="2019-05-01T06:00:00Z") == [0] * 5
