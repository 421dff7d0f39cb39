"""Expired results on the dashboard, of which the server keeps the statistics of hours, in a real browser."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.documents import Archiving, document_paths, labels
from storage.documents.quantile_sketch import encode_values
from storage.hourly_archive.archived_day import ArchivedDay
from storage.rollups.merged_statistics import MergedStatistics, ResultStatistics
from tests.graphql_api.web.dashboard import Dashboard
from tests.stack import Stack

SUBMITTER = "archived-on-page"
UNIT = {"unit": "°C"}
DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2)]
HOURS = [day + timedelta(hours=hour) for day in DAYS for hour in (5, 6)]


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Return a key whose submitter has three expired results in each of some hours, and a result of a later day."""
    firestore: Any = stack.firestore()  # `close` has no type
    for day in DAYS:
        for series, path in (
            (None, document_paths.archived_day(SUBMITTER, day.date())),
            (UNIT, document_paths.archived_series_day(SUBMITTER, day.date(), labels.term(UNIT))),
        ):
            archived = ArchivedDay(day.date(), series)
            archived.add({hour: hour_statistics() for hour in HOURS if hour.date() == day.date()}, Archiving())
            firestore.document(path).set(archived.fields())
    firestore.close()
    key = stack.new_key(SUBMITTER)
    sample = {"time_stamp": "2026-03-04T05:00:00Z", "data": [4], "labels": UNIT}
    stack.wait_for(stack.submit(sample, key=key)["id"], key=key)
    return key


def hour_statistics() -> MergedStatistics:
    """Return the statistics of three results of two values."""
    merged = MergedStatistics()
    for _ in range(3):
        merged.add(ResultStatistics(2, 1.5, 0.5, 1, 2), encode_values([1, 2]))
    return merged


def test_expired_results_are_in_the_plot(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The page has loaded all other results. The range of the plot contains both."""
    dashboard.open(stack, key=key)

    shown = (
        "1 of 13 results shown as points: the newest results. The line shows all 13 results, 12 of them expired: mean "
        "and standard deviation per hour. To see more detail, drag over a range of time, or click a mean."
    )
    dashboard.wait_for(lambda: dashboard.text(".shown") == shown)
    description = dashboard.attributes(".plot [role=img]", "aria-label")
    assert description[0].startswith("Means of 13 results per hour in 1 line from 2026-03-01 05:30:00 to")


def test_a_range_of_expired_results_is_not_empty(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The page shows their means and their statistics, and says why the table lists none of them."""
    dashboard.open(stack, "/?timestamp.gte=2026-03-01T05:00Z&timestamp.lt=2026-03-01T06:00Z", key=key)

    shown = "The line shows all 3 results, 3 of them expired: mean and standard deviation per hour."
    dashboard.wait_for(lambda: dashboard.text(".shown") == shown)
    hint = "3 results (3 of them expired) with 6 values."
    dashboard.wait_for(lambda: hint in (dashboard.text(".summary > .hint") or ""))
    assert dashboard.text(".results .empty") == "The results have expired. The plot shows their hourly statistics."
    dashboard.wait_for(lambda: dashboard.text(".unit") == "°C")
    assert dashboard.painted(".plot canvas", like=".key-point")
    dashboard.go_to(f"{stack.url}/?timestamp.gte=2026-03-01T05:00Z&timestamp.lt=2026-03-01T05:30Z")
    dashboard.wait_for(lambda: (dashboard.text(".results .empty") or "").startswith("No result matches the filter."))
