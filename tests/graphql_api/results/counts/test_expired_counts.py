"""Counts of samples in a state equal the lists although samples have expired whose results are kept."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.filters import Bound, Selection
from graphql_api.results.pagination import PageRequest
from graphql_api.results.sample_listing import SampleListing
from storage.documents import Labels, SampleState, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from tests.graphql_api.results.counts.stored_states import (
    IDS,
    SITE,
    SUBMITTER,
    between,
    day,
    delete_samples,
    store,
    store_result,
)
from tests.received import received_sample


async def test_results_that_outlive_their_samples_are_not_counted(firestore: Firestore) -> None:
    """The samples of days 2 and 3 have expired. Lists do not contain them either."""
    for number, status in enumerate((Status.COMPUTED, Status.FAILED, Status.COMPUTED, Status.FAILED), 2):
        await store_result(firestore, number, status, submitted_at=day(number))
    await delete_samples(firestore, 2, 3)
    listing = SampleListing(firestore, LoopTurns(), shards=1)

    for state in (SampleState.COMPUTED, SampleState.FAILED, SampleState.SUPERSEDED):
        page = await listing.page(SUBMITTER, state, Selection(), PageRequest(50))
        assert await listing.count(SUBMITTER, state, Selection()) == len(page.edges)


@pytest.mark.parametrize("labels", [{}, SITE])
@pytest.mark.parametrize("days", [None, (2, 4), (3, 6)])
async def test_counts_equal_lists_although_later_samples_have_expired(
    firestore: Firestore, labels: Labels, days: tuple[int, int] | None
) -> None:
    """The retention was set after day 2. The samples of days 3, 4 and 5 have expired. Two of today are PENDING.

    One of these two has other labels.
    """
    statuses = (Status.FAILED, Status.COMPUTED, Status.FAILED, Status.SUPERSEDED, Status.SUPERSEDED)
    for number, status in enumerate(statuses, 2):
        await store_result(firestore, number, status, submitted_at=day(number), labels=SITE)
    await delete_samples(firestore, 3, 4, 5)
    header = received_sample(b"{}", submitter=SUBMITTER, default_labels=SITE).header
    today = header.fields() | {"state_on_arrival": "ACCEPTED", "submitted_at": await firestore.now()}
    other_site = received_sample(b"{}", submitter=SUBMITTER, default_labels={"site": "basel"}).header
    samples = {7: today, 1: today, 0: today | {"label_terms": other_site.fields()["label_terms"]}}
    await store(firestore, {document_paths.sample(SUBMITTER, IDS[number]): each for number, each in samples.items()})
    await store_result(firestore, 1, submitted_at=today["submitted_at"], labels=SITE)
    listing = SampleListing(firestore, LoopTurns(), shards=1)
    selection = Selection(labels=labels) if days is None else between(*days, labels)

    for state in (SampleState.PENDING, SampleState.COMPUTED, SampleState.FAILED, SampleState.SUPERSEDED):
        page = await listing.page(SUBMITTER, state, selection, PageRequest(50))
        assert (state, await listing.count(SUBMITTER, state, selection)) == (state, len(page.edges))


@pytest.mark.parametrize(("hours", "waiting"), [(2, 1), (20, 1), (20, 3)])
async def test_samples_that_wait_for_hours_are_pending_although_later_samples_have_expired(
    firestore: Firestore, hours: int, waiting: int
) -> None:
    """The function does not run. The samples cannot have expired yet, so all samples and results are counted.

    Three results are kept longer than their samples. With three waiting samples, as many samples as results exist.
    """
    for number in range(2, 7):
        await store_result(firestore, number, submitted_at=day(number))
    await delete_samples(firestore, 3, 4, 5)
    header = received_sample(b"{}", submitter=SUBMITTER).header
    submitted_at = datetime.now(UTC) - timedelta(hours=hours)
    fields = header.fields() | {"state_on_arrival": "ACCEPTED", "submitted_at": submitted_at}
    await store(firestore, {document_paths.sample(SUBMITTER, str(uuid4())): fields for _ in range(waiting)})
    listing = SampleListing(firestore, LoopTurns(), shards=1)

    counts = [
        await listing.count(SUBMITTER, state, selection)
        for state in (SampleState.PENDING, SampleState.COMPUTED)
        for selection in (Selection(), Selection([Bound("submitted_at", ">=", day(3))]))
    ]

    assert counts == [waiting, waiting, 2, 1]


async def let_latest_sample_expire(firestore: Firestore) -> None:
    """Let the sample of day 6 expire soon."""
    latest = encoding.to_write(
        firestore.name(document_paths.sample(SUBMITTER, IDS[6])), {"expire_at": datetime.now(UTC) + timedelta(days=9)}
    )
    latest.update_mask.field_paths.append("expire_at")
    await firestore.batch_write([latest])


async def test_pending_samples_are_found_if_later_samples_expire_first(firestore: Firestore) -> None:
    """The sample of day 2 never expires. Those of days 3 and 4 have expired, and their results are kept.

    The number of results is then the number of samples, although two samples are PENDING.
    """
    for number in (2, 3, 4):
        await store_result(firestore, number, submitted_at=day(number))
    await delete_samples(firestore, 3, 4)
    await let_latest_sample_expire(firestore)
    listing = SampleListing(firestore, LoopTurns(), shards=1)

    found = [each async for ids in listing.pending_ids(SUBMITTER, datetime.now(UTC), 10) for each in ids]

    assert set(found) == {IDS[5], IDS[6]}


@pytest.mark.parametrize("expired", [(1,), (3, 4, 5)])
async def test_counts_equal_lists_although_results_lack_the_time_of_submission(
    firestore: Firestore, expired: tuple[int, ...]
) -> None:
    """Results of earlier releases lack this time. The earliest samples have expired, or later ones."""
    for number in expired:
        status = Status.FAILED if number == expired[0] else Status.COMPUTED
        await store_result(firestore, number, status, submitted_at=day(number))
    await store_result(firestore, 2, Status.FAILED)
    await store_result(firestore, 6)
    await delete_samples(firestore, *expired)
    listing = SampleListing(firestore, LoopTurns(), shards=1)

    for state in (SampleState.PENDING, SampleState.COMPUTED, SampleState.FAILED, SampleState.SUPERSEDED):
        page = await listing.page(SUBMITTER, state, Selection(), PageRequest(50))
        assert (state, await listing.count(SUBMITTER, state, Selection())) == (state, len(page.edges))


async def test_counts_equal_lists_although_results_without_the_time_outlive_their_samples(
    firestore: Firestore,
) -> None:
    """Results of earlier releases lack the time of submission. Their samples are the first that expire."""
    await store_result(firestore, 2, Status.FAILED)
    await store_result(firestore, 3)
    await store_result(firestore, 4, submitted_at=day(4))
    await delete_samples(firestore, 2, 3)
    await let_latest_sample_expire(firestore)
    listing = SampleListing(firestore, LoopTurns(), shards=1)

    for state in (SampleState.PENDING, SampleState.COMPUTED, SampleState.FAILED, SampleState.SUPERSEDED):
        page = await listing.page(SUBMITTER, state, Selection(), PageRequest(50))
        assert (state, await listing.count(SUBMITTER, state, Selection())) == (state, len(page.edges))
