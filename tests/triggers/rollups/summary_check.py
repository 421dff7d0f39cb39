"""The comparison of summaries with all results of a test, and with numpy."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from graphql_api.results.summaries import TimeBucket
from storage.rollups.merged_statistics import MergedStatistics
from tests.storage.rollups.quantile_check import assert_close
from tests.triggers.rollups.conftest import Database, figures

START = datetime(2026, 3, 28, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)

SELECTIONS: list[tuple[dict[str, str], list[str]]] = [
    ({}, []),
    ({}, ["site"]),
    ({}, ["unit", "site"]),
    ({"site": "a"}, []),
    ({"site": "b=`\\"}, ["unit"]),
    ({"site": "a", "unit": "x"}, []),
]
"""Filters by label, and names of labels by which the results are grouped."""


async def check(database: Database, start: datetime, end: datetime) -> None:
    """Compare the summaries of a range with the results in it, also of some series and of groups."""
    for having, names in SELECTIONS:
        summary = await database.summary(start, end, having, names)
        assert by_key(summary) == by_key(database.expected(start, end, having, names))
        for group, merged in summary.items():
            check_with_numpy(merged, database.values(start, end, having, dict(zip(names, group, strict=True))))
        for bucket in (TimeBucket.HOUR, TimeBucket.DAY):
            length = timedelta(seconds=bucket.value)
            buckets = await database.buckets(start, end, bucket, having, names)
            starts = [bucket_start for bucket_start, _ in buckets]
            assert starts == sorted(starts)
            expected: dict[Any, Any] = {}
            first = bucket.start(START)
            while first < START + 6 * HOUR:
                within = max(start, first), min(end, first + length)
                groups = by_key(database.expected(*within, having, names))
                expected |= {(first, group): each for group, each in groups.items() if each[0]}
                first += length
            assert by_key(buckets) == expected


def check_with_numpy(merged: MergedStatistics, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """Compare statistics with those of numpy. Numpy's mean and deviation of huge numbers overflow."""
    assert merged.count == len(values)
    if len(values):
        assert (merged.minimum, merged.maximum) == (values.min(), values.max())
        assert_close(merged, values)
        if abs(values).max() < 1e100:
            assert merged.mean() == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
            assert merged.standard_deviation() == pytest.approx(values.std(), rel=1e-9, abs=1e-6)


def by_key(summaries: Mapping[Any, MergedStatistics]) -> dict[Any, tuple[Any, ...]]:
    """Return all that summaries show."""
    return {key: figures(merged) for key, merged in summaries.items()}
