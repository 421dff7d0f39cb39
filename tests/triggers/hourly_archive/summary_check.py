"""The comparison of summaries with all results of a test, archived or not."""

from datetime import UTC, datetime, timedelta

from graphql_api.results.summaries import TimeBucket, summarize, summarize_over_time
from storage.documents import Labels
from tests.triggers.hourly_archive.conftest import Database
from tests.triggers.result_database import NO_LABELS, SUBMITTER, selection
from tests.triggers.rollups.conftest import figures

START = datetime(2026, 3, 28, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
SERIES: tuple[Labels, ...] = (NO_LABELS, {"site": "a"}, {"site": "b"}, {"site": "a", "unit": "1"})


async def check(database: Database, start: datetime, end: datetime) -> None:
    """Compare the summaries of a range of hours with the results in it."""
    for having in SERIES[:2]:
        merged, no_groups = await summarize(database.store, SUBMITTER, selection(start, end, having))
        assert figures(merged) == figures(database.expected(start, end, having))
        assert no_groups == {}
    merged, groups = await summarize(database.store, SUBMITTER, selection(start, end), ["site"])
    assert figures(merged) == figures(database.expected(start, end))
    assert sum(each.results for each in groups.values()) == merged.results
    for (site,), group in groups.items():
        if site is not None:
            assert figures(group) == figures(database.expected(start, end, {"site": site}))
    for bucket in (TimeBucket.HOUR, TimeBucket.DAY):
        length = timedelta(seconds=bucket.value)
        for names in ([], ["site"]):
            buckets = await summarize_over_time(database.store, SUBMITTER, selection(start, end), bucket, names)
            starts = [bucket_start for bucket_start, _ in buckets]
            assert starts == sorted(starts)
            assert sum(each.results for each in buckets.values()) == merged.results
            for (bucket_start, of_bucket), each in buckets.items():
                first, last = max(start, bucket_start), min(end, bucket_start + length)
                if of_bucket != (None,):
                    having = {"site": str(of_bucket[0])} if of_bucket else NO_LABELS
                    assert figures(each) == figures(database.expected(first, last, having))
