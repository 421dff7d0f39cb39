"""Samples and results expire after the retention that applied when they were submitted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import Client, CollectionReference
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.settings import Settings
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
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def documents(collection: CollectionReference) -> list[dict[str, Any]]:
    """Return the fields of all documents of a collection."""
    return [document.to_dict() or {} for document in collection.stream()]


@needs_embedded_firestore  # the emulator has no time to live
def test_samples_and_results_expire(stack: Stack, firestore: Client) -> None:
    """A change applies to what is submitted afterwards. A retry keeps the chunks as long as their header."""
    submitter = "retention"
    key = stack.new_key(submitter, "submit,read,admin")
    parent = document_paths.submitter(submitter)
    samples = firestore.collection(f"{parent}/{document_paths.SAMPLES}")
    results = firestore.collection(f"{parent}/{document_paths.RESULTS}")

    def change(**variables: Any) -> Any:
        return stack.graphql(SET, variables, key=key)["setRetention"]

    default = {"sampleDays": None, "resultDays": None, "isDefault": True}
    assert stack.graphql(READ, key=key)["retention"] == default
    kept = stack.submit(LARGE, key=key, idempotency_key="kept")["id"]
    stack.wait_for(kept, key=key)

    changed = {"sampleDays": 1, "resultDays": 30, "isDefault": False}
    assert change(samples=1, results=30) == changed
    assert stack.graphql(READ, key=key)["retention"] == changed
    stack.submit(LARGE, key=key, idempotency_key="kept")
    chunks = samples.document(kept).collection("chunks")  # those of the second upload are removed after the response
    eventually(lambda: not any("expire_at" in chunk for chunk in documents(chunks)), lambda: stack.log)
    for document in (*documents(samples), *documents(results)):
        assert "expire_at" not in document
    assert documents(chunks)

    expiring = [stack.submit(sample, key=key)["id"] for sample in (SMALL, LARGE, {"time_stamp": "never"})]
    for sample_id in expiring[:2]:
        stack.wait_for(sample_id, key=key)
    for sample_id in expiring:
        header = samples.document(sample_id).get().to_dict() or {}
        assert abs(header["expire_at"] - header["submitted_at"] - timedelta(days=1)) < timedelta(hours=1)
        for chunk in documents(samples.document(sample_id).collection("chunks")):
            assert chunk["expire_at"] == header["expire_at"]
        if sample_id in expiring[:2]:
            result = results.document(sample_id).get().to_dict() or {}
            assert result["expire_at"] - header["expire_at"] == timedelta(days=29)

    assert change(default=True) == default
    later = stack.submit(SMALL, key=key)["id"]
    assert "expire_at" not in (samples.document(later).get().to_dict() or {})

    for sample_id in expiring:  # their time has passed
        for chunk in samples.document(sample_id).collection("chunks").list_documents():
            chunk.update({"expire_at": YESTERDAY})
        samples.document(sample_id).update({"expire_at": YESTERDAY})
    eventually(lambda: {each.id for each in samples.list_documents()} == {kept, later}, lambda: stack.log)
    stack.wait_for(later, key=key)
    assert stack.graphql(COUNTS, key=key)["results"]["totalCount"] == 4  # results are kept longer
    kept_counts = {"samples": {"totalCount": 2}, "results": {"totalCount": 2}, "resultsSummary": {"results": 2}}
    eventually(
        lambda: not _expire(results, expiring) and stack.graphql(COUNTS, key=key) == kept_counts, lambda: stack.log
    )

    entries = stack.graphql("{ auditLog { action details } }", key=key)["auditLog"]
    assert [entry["details"] for entry in entries if entry["action"] == "retention.changed"] == [
        "samples forever, results forever, the default",
        "samples for 1 days, results for 30 days",
    ]


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


def test_a_retention_of_hourly_statistics_in_other_words_is_refused() -> None:
    """The message has the words that are expected."""
    with pytest.raises(ValueError, match="HOURLY_RETENTION must be off, a number of days, or forever, got never"):
        Settings(sample_retention_days=1, result_retention_days=1, hourly_retention="never")
