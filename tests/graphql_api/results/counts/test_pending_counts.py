"""Samples in a state: they are counted, although the counts are of different documents, and rare ones are listed."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results import sharded_query
from graphql_api.results.filters import Selection
from graphql_api.results.pagination import PageRequest
from graphql_api.results.sample_listing import SampleListing
from storage.documents import SampleState, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from tests.graphql_api.results.counts.stored_states import (
    IDS,
    SITE,
    SUBMITTER,
    between,
    day,
    store,
    store_result,
)
from tests.received import received_sample


async def test_results_that_outlive_their_samples_do_not_hide_pending_samples(firestore: Firestore) -> None:
    """The sample of day 1 has expired, and its result is kept. Results of earlier releases lack the submission."""
    for number, status in ((1, Status.COMPUTED), (2, Status.FAILED), (3, Status.SUPERSEDED), (7, Status.DELETED)):
        submitted = {} if status is Status.DELETED else {"submitted_at": day(number)}
        await store_result(firestore, number, status, **submitted)
    listing = SampleListing(firestore, LoopTurns(), shards=1)

    async def pending(selection: Selection) -> int:
        return await listing.count(SUBMITTER, SampleState.PENDING, selection)

    assert await pending(Selection()) == 3
    assert [await pending(between(*days)) for days in ((1, 1), (1, 4), (3, 6), (5, 6))] == [0, 1, 3, 2]

    await store_result(firestore, 6)

    assert [await pending(between(*days)) for days in ((1, 4), (3, 6), (5, 6))] == [1, 2, 1]


async def test_samples_with_labels_are_counted_and_not_read(
    firestore: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results of days 1 and 2 have outlived their samples. That of day 6 has other labels."""
    unit = SITE | {"unit": "V"}
    header = received_sample(b"{}", submitter=SUBMITTER, default_labels=SITE).header
    rejected = document_paths.sample(SUBMITTER, IDS[7])
    await store(firestore, {rejected: header.fields() | {"submitted_at": day(7)}})
    await firestore.batch_write([encoding.to_delete(firestore.name(document_paths.sample(SUBMITTER, IDS[2])))])
    for number, status in enumerate((Status.COMPUTED, Status.FAILED, Status.SUPERSEDED, Status.FAILED), 1):
        await store_result(firestore, number, status, submitted_at=day(number), labels=unit)
    await store_result(firestore, 6, submitted_at=day(6), labels={"site": "basel"})
    monkeypatch.setattr(firestore, "batch_get", None)  # reading results would fail
    listing = SampleListing(firestore, LoopTurns(), shards=1)

    async def count(selection: Selection) -> dict[str, int]:
        states = [state for state in SampleState if state is not SampleState.DELETED]
        return {state.value: await listing.count(SUBMITTER, state, selection) for state in states}

    assert await count(Selection(labels=SITE)) == {
        "PENDING": 2,
        "COMPUTED": 0,
        "SUPERSEDED": 1,
        "FAILED": 1,
        "REJECTED": 1,
    }
    assert await listing.count(SUBMITTER, None, Selection(labels=SITE)) == 5
    assert set((await count(between(1, 2, unit))).values()) == {0}
    assert (await count(between(4, 7, unit))) | {"COMPUTED": 0} == await count(between(4, 6, unit))
    assert (await count(between(4, 5, unit)))["PENDING"] == 1
    assert set((await count(Selection(labels={"site": "bern", "unit": "A"}))).values()) == {0}


async def test_samples_in_a_range_are_counted_and_not_read(
    firestore: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample of day 1 has expired."""
    statuses = (Status.FAILED, Status.FAILED, Status.SUPERSEDED, Status.COMPUTED, Status.COMPUTED)
    for number, status in enumerate(statuses, 1):
        await store_result(firestore, number, status, submitted_at=day(number))
    monkeypatch.setattr(firestore, "batch_get", None)  # reading the results of samples would fail
    listing = SampleListing(firestore, LoopTurns(), shards=1)

    async def count(first: int, last: int) -> list[int]:
        states = (SampleState.COMPUTED, SampleState.SUPERSEDED, SampleState.FAILED, SampleState.PENDING)
        return [await listing.count(SUBMITTER, state, between(first, last)) for state in states]

    assert [await count(day, day) for day in (1, 2, 6)] == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert [await count(*days) for days in ((1, 6), (3, 5), (4, 6))] == [[2, 1, 1, 1], [2, 1, 0, 0], [2, 0, 0, 1]]


async def test_a_result_of_an_earlier_sample_does_not_count(firestore: Firestore) -> None:
    """A sample has the idempotency key of an expired sample, whose result is kept. The new sample is PENDING."""
    for status in (Status.COMPUTED, Status.FAILED):
        await store_result(firestore, 6, status, submitted_at=day(1))
        listing = SampleListing(firestore, LoopTurns(), shards=1)

        pages = {state: await listing.page(SUBMITTER, state, Selection(), PageRequest(10)) for state in SampleState}

        assert len(pages[SampleState.PENDING].edges) == 5
        assert pages[SampleState(status)].edges == []
    await store_result(firestore, 6, submitted_at=day(6))
    assert len((await listing.page(SUBMITTER, SampleState.COMPUTED, Selection(), PageRequest(10))).edges) == 1


async def test_a_selection_for_deletion_leaves_out_samples_that_arrive_meanwhile(firestore: Firestore) -> None:
    """Reading the samples can take hours. A later sample can have a result, and have expired, when it ends."""
    await store_result(firestore, 1, submitted_at=day(1), labels=SITE)  # its sample has expired
    listing = SampleListing(firestore, LoopTurns(), shards=1)
    started_at = await firestore.now()
    await store_result(firestore, 7, submitted_at=started_at + timedelta(seconds=1), labels=SITE)

    batches = [ids async for ids in listing.kept_result_ids(SUBMITTER, None, Selection(labels=SITE), started_at, 2)]

    assert [sample_id for ids in batches for sample_id in ids] == [IDS[1]]


async def listed(firestore: Firestore, state: SampleState, selection: Selection, **request: Any) -> list[str]:
    """Return the ids of a page of samples in a state."""
    page = await SampleListing(firestore, LoopTurns(), shards=1).page(
        SUBMITTER, state, selection, PageRequest(**{"size": 10} | request)
    )
    assert all(header.count == 1 for _, header in page.edges)
    assert all(cursor.id == header.id for cursor, header in page.edges)
    return [header.id for _, header in page.edges]


async def test_failed_samples_are_listed_without_reading_the_other_samples(
    firestore: Firestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page reads two documents at most. The FAILED samples are not among the two latest ones. One has expired."""
    for number in (1, 2, 3):
        labels = SITE if number == 2 else {}
        await store_result(firestore, number, Status.FAILED, submitted_at=day(number), labels=labels)
    for number in (4, 5, 6):
        await store_result(firestore, number, submitted_at=day(number))
    monkeypatch.setattr(sharded_query, "_FILTERED_BATCH_SIZE", 2)
    monkeypatch.setattr(sharded_query, "_MAX_SCANNED", 2)
    failed = partial(listed, firestore, SampleState.FAILED)
    page = await SampleListing(firestore, LoopTurns(), shards=1).page(
        SUBMITTER, SampleState.FAILED, Selection(), PageRequest(1)
    )
    ((cursor, _),) = page.edges

    assert await failed(Selection()) == [IDS[3], IDS[2]]
    assert (cursor.id, page.has_more) == (IDS[3], True)
    assert await failed(Selection(), after=cursor) == [IDS[2]]
    assert await failed(Selection(), size=1, backward=True) == [IDS[2]]
    assert await failed(Selection(), size=2, backward=True, after=cursor) == [IDS[2]]
    assert await failed(Selection(labels=SITE)) == [IDS[2]]
    assert await failed(between(3, 6)) == [IDS[3]]


async def test_results_without_a_time_of_submission_are_listed_too(firestore: Firestore) -> None:
    """Results of earlier releases lack this time, so the samples are read."""
    await store_result(firestore, 3, Status.FAILED)
    await store_result(firestore, 4, Status.FAILED, submitted_at=day(4))
    listing = SampleListing(firestore, LoopTurns(), shards=1)

    assert await listed(firestore, SampleState.FAILED, Selection()) == [IDS[4], IDS[3]]
    assert await listing.count(SUBMITTER, SampleState.FAILED, Selection()) == 2
