"""The first questions of someone who owns fifty sensors, answered by client and command, and compared with NumPy."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from dropzone import Client, DropzoneError, Receipt, ResultFilter, Summary, TimeBucket
from fixture.sensors import FAULTY, SENSORS, samples
from tests.client.conftest import start as start_command  # noqa: F401 - a fixture
from tests.stack import Stack, eventually

START = datetime(2026, 5, 1, tzinfo=UTC)
HOURS = (0, 1, 24)


@dataclass
class Owner:
    """The key of a submitter, its client, and the raw samples with their receipts."""

    key: str
    client: Client
    raw: list[dict[str, Any]]
    receipts: list[Receipt]

    def values(self, **labels: str) -> Any:
        """Return all values of the samples with these labels."""
        chosen = [each["data"] for each in self.raw if labels.items() <= each["labels"].items()]
        return np.array([value for data in chosen for value in data if value is not None])


@pytest.fixture(scope="module")
def owner(stack: Stack) -> Iterator[Owner]:
    """Submit three hours of fifty sensors on two days."""
    key = stack.new_key("owner", "submit,read,admin")
    hours = list(samples(max(HOURS) + 1, START))
    raw = [sample for hour in HOURS for sample in hours[hour * SENSORS : (hour + 1) * SENSORS]]
    with Client(stack.url, key) as client:
        receipts = []
        for receipt in client.submit_many(raw):
            assert not isinstance(receipt, DropzoneError)
            receipts.append(receipt)
        assert all(settled.state == "COMPUTED" for settled in client.wait([receipt.id for receipt in receipts]))
        yield Owner(key, client, raw, receipts)


def equals(summary: Summary, values: Any) -> None:
    """Compare a summary with NumPy over the values of all samples."""
    assert summary.values == len(values)
    assert summary.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert summary.standard_deviation == pytest.approx(np.std(values), rel=1e-9)
    assert (summary.minimum, summary.maximum) == (values.min(), values.max())


def test_the_results_of_one_sensor(owner: Owner) -> None:
    """Gaps are counted."""
    results = list(owner.client.results(ResultFilter(labels={"sensor": "sensor_07"})))

    assert [result.timestamp.hour for result in results] == [0, 1, 0]
    assert [result.missing_count for result in results] == [
        each["data"].count(None) for each in owner.raw[::-1] if each["labels"]["sensor"] == "sensor_07"
    ]


def test_a_unit_is_never_joined_with_another(owner: Owner) -> None:
    """Degrees and revolutions are two groups."""
    groups = owner.client.groups(["unit"])

    assert {group.labels["unit"] for group in groups} == {"celsius", "rpm"}
    for group in groups:
        equals(group.summary, owner.values(**group.labels))


def test_a_daily_summary_per_sensor(owner: Owner) -> None:
    """The sensor that always reports the same value has no deviation."""
    buckets = owner.client.over_time(TimeBucket.DAY, ResultFilter(labels={"site": "lausanne"}), ["sensor"])
    expected: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in owner.raw:
        if each["labels"]["site"] == "lausanne":
            day = each["time_stamp"][:10]
            expected[day, each["labels"]["sensor"]] += [value for value in each["data"] if value is not None]

    assert len(buckets) == len(expected) == 20
    for bucket in buckets:
        equals(bucket.summary, np.array(expected[bucket.start.date().isoformat(), bucket.labels["sensor"]]))
    faulty = [bucket for bucket in buckets if bucket.labels["sensor"] == FAULTY]
    assert [bucket.summary.standard_deviation for bucket in faulty] == [0, 0]


def test_the_latest_result_of_each_sensor(owner: Owner, stack: Stack, start_command: Any) -> None:  # noqa: F811
    """The command prints the same results as the client returns."""
    latest = owner.client.latest(["sensor"])
    printed = start_command(stack, owner.key, "latest", "--by", "sensor").communicate(timeout=100)[0]

    assert [result.labels["sensor"] for result in latest] == [f"sensor_{number:02d}" for number in range(SENSORS)]
    assert {result.timestamp for result in latest} == {datetime(2026, 5, 2, tzinfo=UTC)}
    assert [json.loads(line)["id"] for line in printed.splitlines()] == [result.id for result in latest]


def test_a_wrong_sample_is_corrected_and_another_is_deleted(owner: Owner) -> None:
    """Summaries then have the values of the correction, and none of the deleted sample."""
    chosen = {"sensor": FAULTY}
    ids = [result.id for result in owner.client.results(ResultFilter(labels=chosen))]
    corrected = {**owner.raw[13], "data": [21.0, 22.0]}

    receipt = owner.client.submit(corrected, supersedes=ids[-1])
    list(owner.client.wait([receipt.id]))
    eventually(lambda: owner.client.sample(ids[-1]).state == "SUPERSEDED")
    deleted = owner.client.delete([ids[0]], reason="the sensor is faulty")

    summary = owner.client.summary(ResultFilter(labels=chosen))
    level = owner.raw[13]["data"][0]
    equals(summary, np.array([21.0, 22.0, *[level] * 60]))
    assert deleted == 1
