"""Samples and bytes per day: what is left, until when, and what is to be stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.budgets.daily_quota import DAY_SECONDS, ChangedQuotas, DailyQuota, Usage
from graphql_api.errors import QuotaExceeded

NOON = 20_000.5 * DAY_SECONDS


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = NOON

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def quota(clock: Clock, *, samples: int = 0, byte_count: int = 0) -> DailyQuota:
    """Return a quota of which nothing is used."""
    return DailyQuota("a", "", max_samples=samples, max_bytes=byte_count, changed=ChangedQuotas(), clock=clock)


def test_a_request_over_the_quota_is_refused_until_midnight() -> None:
    """A smaller one is not. The next day has the whole quota again."""
    clock = Clock()
    limited = quota(clock, samples=10)
    limited.check(8, 0)
    limited.add(8, 0)

    with pytest.raises(QuotaExceeded) as refused:
        limited.check(3, 0)
    assert (refused.value.limit, refused.value.policy) == ("max_samples_per_day_per_submitter", "daily-sample-count")
    assert (refused.value.quota, refused.value.window_seconds) == (10, DAY_SECONDS)
    assert refused.value.retry_after == DAY_SECONDS // 2
    limited.check(2, 0)
    assert limited.items == [f'"daily-sample-count";r=2;t={DAY_SECONDS // 2}']

    clock.seconds += DAY_SECONDS // 2
    limited.check(10, 0)


def test_samples_and_bytes_have_quotas_of_their_own() -> None:
    """Only those that are set are announced."""
    limited = quota(Clock(), byte_count=100)
    limited.add(1_000_000, 100)

    with pytest.raises(QuotaExceeded, match="max_sample_mib_per_day_per_submitter"):
        limited.check(1, 1)
    assert [each.partition(";")[0] for each in limited.policies] == ['"daily-sample-bytes"']
    assert [each.partition(";t")[0] for each in limited.items] == ['"daily-sample-bytes";r=0']


def test_the_usage_of_other_processes_counts() -> None:
    """What this process admits while it stores is not lost."""
    limited = quota(Clock(), samples=10)
    limited.add(3, 30)
    day, written = limited.admitted
    limited.add(1, 10)

    limited.set_stored(day, written, Usage(8, 80))

    assert limited.used == Usage(9, 90)
    assert limited.admitted == (day, Usage(1, 10))


def test_the_usage_of_a_day_that_is_over_does_not_count() -> None:
    """Also if it is stored after midnight."""
    clock = Clock()
    limited = quota(clock, samples=10)
    limited.add(10, 0)
    day, written = limited.admitted
    clock.seconds += DAY_SECONDS
    limited.check(10, 0)

    limited.set_stored(day, written, Usage(15, 0))

    assert limited.used == Usage()


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=30))
def test_the_quota_is_never_exceeded_and_nothing_is_stored_twice(steps: list[tuple[int, bool]]) -> None:
    """However often the usage is stored in between."""
    limited = quota(Clock(), samples=20)
    stored = admitted = 0
    for count, does_store in steps:
        try:
            limited.check(count, 0)
        except QuotaExceeded:
            assert admitted + count > 20
        else:
            limited.add(count, 0)
            admitted += count
        if does_store:
            day, written = limited.admitted
            stored += written.samples
            limited.set_stored(day, written, Usage(stored, 0))
        assert limited.used.samples == admitted <= 20
