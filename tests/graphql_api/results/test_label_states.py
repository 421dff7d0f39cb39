"""The states of samples with given labels, and the labels of samples from before there were labels."""

from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.firestore import DELETE_FIELD, Client

from storage.documents import document_paths
from storage.documents.chunks import MAX_INLINE_BYTES
from tests.graphql_api.results.operator import SAMPLE, Operator
from tests.graphql_api.results.test_recomputation import RECOMPUTE
from tests.stack import Stack, eventually

STATES = ("PENDING", "COMPUTED", "SUPERSEDED", "FAILED", "REJECTED")
COUNTED = "query ($labels: [LabelFilter!], $until: DateTime) {" + " ".join(
    f"{state}: samples(filter: {{state: {state}, labels: $labels, submittedAt: {{lt: $until}}}}) {{ totalCount }}"
    for state in STATES
) + "}"  # fmt: skip
CORRECT = "mutation ($sample: RawSample!, $id: ID!) { submit(sample: $sample, supersedes: $id) { id } }"


def test_samples_of_each_state_are_counted_by_label(stack: Stack, firestore: Client) -> None:
    """A FAILED result has the labels of its sample, so that it is counted too."""
    submitter = "label-states"
    rejected = {"time_stamp": "never", "data": [1], "labels": {"site": "bern"}}
    operator = Operator(stack, submitter, [SAMPLE, SAMPLE, SAMPLE, rejected, {**SAMPLE, "labels": {"site": "basel"}}])
    failed, wrong, pending, *_ = operator.ids
    operator.fail(firestore, failed)
    corrected = operator.query(CORRECT, sample=SAMPLE, id=wrong)["submit"]["id"]
    expected = {wrong: "SUPERSEDED", corrected: "COMPUTED"}
    for sample_id, state in expected.items():
        stack.wait_for(sample_id, state, key=operator.key)
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


def test_recomputing_labels_a_sample_from_before_there_were_labels(stack: Stack, firestore: Client) -> None:
    """The labels come from the stored raw document. Lists of samples, counts and deletions by label then find it."""
    submitter = "old-sensors"
    operator = Operator(stack, submitter, [{**SAMPLE, "data": [0.5] * (MAX_INLINE_BYTES // 2)}])
    (sample_id,) = operator.ids
    sample, result = (
        firestore.document(path(submitter, sample_id)) for path in (document_paths.sample, document_paths.result)
    )
    without_labels: dict[str, Any] = {"labels": DELETE_FIELD, "label_terms": DELETE_FIELD}
    result.update({"sample_update_time": datetime.now(UTC) + timedelta(days=1)})  # the next event needs no result
    written = sample.update(without_labels)
    result.update({**without_labels, "statistics_version": 2, "sample_update_time": written.update_time})
    bern = [{"name": "site", "value": "bern"}]
    found = """query ($labels: [LabelFilter!]) {
        samples(filter: {labels: $labels}) { edges { node { labels { name value } result { labels { name } } } } }
        computed: samples(filter: {labels: $labels, state: COMPUTED}) { totalCount } }"""
    before = operator.query(found, labels=bern)

    operator.query(RECOMPUTE)

    assert before == {"samples": {"edges": []}, "computed": {"totalCount": 0}}
    eventually(lambda: operator.query(found, labels=bern)["computed"]["totalCount"] == 1, lambda: stack.log)
    (edge,) = operator.query(found, labels=bern)["samples"]["edges"]
    assert edge["node"] == {"labels": bern, "result": {"labels": [{"name": "site"}]}}
    assert operator.delete(filter={"labels": bern})["deleted"] == 1
