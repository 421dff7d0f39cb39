"""Samples and results expire after the retention that applied when they were submitted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import Client, CollectionReference
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.configuration.settings import Settings
from storage.documents import BadRequest, HourlyRetention, Retention, document_paths
from storage.documents.chunks import MAX_INLINE_BYTES
from tests.stack import Stack, eventually, needs_embedded_firestore

SET = """mutation ($samples: Int, $results: Int, $default: Boolean! = false) {
    setRetention(sampleDays: $samples, resultDays: $results, useDefault: $default) {
        sampleDays resultDays isDefault } }"""
READ = "{ retention { sampleDays resultDays isDefault } }"
COUNTS = "{ samples { totalCount } results { totalCount } resultsSummary { results } }"
SMALL = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}
LARGE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [0.5] * (MAX_INLINE_BYTES // 2)}
INVALID = {"time_stamp": "never"}
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def documents(collection: CollectionReference) -> list[dict[str, Any]]:
    """Return the fields of all documents of a collection."""
    return [document.to_dict() or {} for document in collection.stream()]


class Tenant:
    """A submitter with the documents that it has stored."""

    def __init__(self, stack: Stack, firestore: Client, submitter: str) -> None:
        self.stack = stack
        self.key = stack.new_key(submitter, "submit,read,admin")
        parent = document_paths.submitter(submitter)
        self.samples = firestore.collection(f"{parent}/{document_paths.SAMPLES}")
        self.results = firestore.collection(f"{parent}/{document_paths.RESULTS}")

    def query(self, document: str, **variables: Any) -> Any:
        """Return the data of an operation."""
        return self.stack.graphql(document, variables, key=self.key)

    def submit(self, *samples: object) -> list[str]:
        """Submit samples. Return their ids when the accepted ones have results."""
        ids = [self.stack.submit(sample, key=self.key)["id"] for sample in samples]
        for sample_id, sample in zip(ids, samples, strict=True):
            if sample != INVALID:
                self.stack.wait_for(sample_id, key=self.key)
        return ids

    def header(self, sample_id: str) -> dict[str, Any]:
        """Return the fields of a header."""
        return self.samples.document(sample_id).get().to_dict() or {}

    def chunks(self, sample_id: str) -> list[dict[str, Any]]:
        """Return the fields of the chunks of a sample."""
        return documents(self.samples.document(sample_id).collection("chunks"))

    def counts(self) -> list[int]:
        """Return the number of samples, of results, and of results in the summary."""
        samples, results, summary = self.query(COUNTS).values()
        return [samples["totalCount"], results["totalCount"], summary["results"]]


def test_a_retention_applies_until_the_default_is_used_again(stack: Stack, firestore: Client) -> None:
    """The response contains what applies now, and the audit log contains each change."""
    tenant = Tenant(stack, firestore, "retention-changes")

    at_first = tenant.query(READ)["retention"]
    changed = tenant.query(SET, samples=1, results=30)["setRetention"]
    read = tenant.query(READ)["retention"]
    at_last = tenant.query(SET, default=True)["setRetention"]

    assert at_first == at_last == {"sampleDays": None, "resultDays": None, "isDefault": True}
    assert changed == read == {"sampleDays": 1, "resultDays": 30, "isDefault": False}
    entries = tenant.query("{ auditLog { action details } }")["auditLog"]
    assert [entry["details"] for entry in entries if entry["action"] == "retention.changed"] == [
        "samples forever, results forever, the default",
        "samples for 1 days, results for 30 days",
    ]


def test_a_change_applies_to_samples_that_are_submitted_afterwards(stack: Stack, firestore: Client) -> None:
    """Chunks expire with their header. The function sets the time of the result from the header."""
    tenant = Tenant(stack, firestore, "retention-times")
    before = tenant.submit(LARGE)
    tenant.query(SET, samples=1, results=30)
    small, large, invalid = tenant.submit(SMALL, LARGE, INVALID)
    tenant.query(SET, default=True)
    after = tenant.submit(SMALL)

    for sample_id in (*before, *after):
        assert "expire_at" not in tenant.header(sample_id)
    for sample_id in (small, large, invalid):
        header = tenant.header(sample_id)
        assert abs(header["expire_at"] - header["submitted_at"] - timedelta(days=1)) < timedelta(hours=1)
    assert {chunk["expire_at"] for chunk in tenant.chunks(large)} == {tenant.header(large)["expire_at"]}
    for sample_id in (small, large):
        result = tenant.results.document(sample_id).get().to_dict() or {}
        assert result["expire_at"] - tenant.header(sample_id)["expire_at"] == timedelta(days=29)


def test_a_retry_keeps_the_chunks_as_long_as_their_header(stack: Stack, firestore: Client) -> None:
    """The chunks of the retry would expire. They are removed after the response."""
    tenant = Tenant(stack, firestore, "retention-retry")
    kept = stack.submit(LARGE, key=tenant.key, idempotency_key="kept")["id"]
    tenant.query(SET, samples=1, results=30)

    stack.submit(LARGE, key=tenant.key, idempotency_key="kept")

    eventually(lambda: not any("expire_at" in chunk for chunk in tenant.chunks(kept)), lambda: stack.log)
    assert tenant.chunks(kept)
    assert "expire_at" not in tenant.header(kept)


@needs_embedded_firestore  # the emulator has no time to live
def test_expired_samples_and_results_leave_lists_and_summaries(stack: Stack, firestore: Client) -> None:
    """Results are kept longer than their samples."""
    tenant = Tenant(stack, firestore, "retention")
    (kept,) = tenant.submit(SMALL)
    tenant.query(SET, samples=1, results=30)
    expiring = tenant.submit(SMALL, LARGE, INVALID)

    for sample_id in expiring:  # their time has passed
        for chunk in tenant.samples.document(sample_id).collection("chunks").list_documents():
            chunk.update({"expire_at": YESTERDAY})
        tenant.samples.document(sample_id).update({"expire_at": YESTERDAY})
    eventually(lambda: {each.id for each in tenant.samples.list_documents()} == {kept}, lambda: stack.log)

    assert tenant.counts() == [1, 3, 3]
    eventually(lambda: not _expire(tenant.results, expiring) and tenant.counts() == [1, 1, 1], lambda: stack.log)


def _expire(results: CollectionReference, ids: list[str]) -> bool:
    """Let results expire, also those that the function has just written again. Return whether there were any."""
    found = [document for document in results.stream() if document.id in ids]
    for document in found:
        if (document.to_dict() or {})["expire_at"] != YESTERDAY:
            document.reference.update({"expire_at": YESTERDAY})
    return bool(found)


def test_a_dangerous_retention_is_refused(stack: Stack) -> None:
    """Less than a day, and results that are deleted before their samples. Only the scope admin allows a change."""
    key, reader = stack.new_key("retention-refused", "read,admin"), stack.new_key("retention-refused", "read")

    for variables in (
        {"samples": 0},
        {"samples": -1},
        {"samples": 36_501},
        {"samples": 2, "results": 1},
        {"results": 9},
    ):
        (error,) = stack.post_graphql(SET, variables, key=key).json()["errors"]
        assert error["extensions"]["code"] == "BAD_REQUEST"
    (error,) = stack.post_graphql(SET, {"samples": 1}, key=reader).json()["errors"]

    assert error["extensions"]["code"] == "FORBIDDEN"
    assert stack.graphql(READ, key=reader)["retention"]["isDefault"]


days = st.integers(-5, 40_000)
few_days = st.integers(0, 10)


@given(
    st.tuples(days, days) | st.tuples(few_days, few_days),
    st.sampled_from([None, HourlyRetention()]) | st.builds(HourlyRetention, st.integers(0, 40_000) | few_days),
)
def test_the_settings_of_a_deployment_have_the_same_limits(
    kept: tuple[int, int], hourly: HourlyRetention | None
) -> None:
    """0 means forever, and hourly statistics are off, or kept forever or for longer than the results."""
    sample_days, result_days = kept
    retention = Retention(sample_days or None, result_days or None, hourly)
    hourly_retention = "off" if hourly is None else "forever" if hourly.days is None else str(hourly.days)

    def read() -> Settings:
        return Settings(
            sample_retention_days=sample_days, result_retention_days=result_days, hourly_retention=hourly_retention
        )

    try:
        retention.check()
    except BadRequest:
        with pytest.raises(ValueError, match="RETENTION_DAYS"):
            read()
    else:
        assert read().retention == retention == Retention.from_fields(retention.fields())
        expiry = retention.expiry(YESTERDAY)
        assert expiry.sample is None or expiry.sample >= YESTERDAY + timedelta(days=1)
        assert expiry.result is None or (expiry.sample is not None and expiry.result >= expiry.sample)
        assert (expiry.archiving is None) == (hourly is None)
        if expiry.archiving is not None:
            assert expiry.result is not None
            assert expiry.archiving.expire_at is None or expiry.archiving.expire_at > expiry.result


@pytest.mark.parametrize("text", ["never", "٣٠"])
def test_a_retention_of_hourly_statistics_in_other_words_is_refused(text: str) -> None:
    """The message has the words that are expected."""
    with pytest.raises(ValueError, match=f"HOURLY_RETENTION must be off, a number of days, or forever, got {text}"):
        Settings(sample_retention_days=1, result_retention_days=1, hourly_retention=text)
