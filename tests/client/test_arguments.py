"""Arguments of the client that have a wrong type. They are an error before a request is sent."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas
import polars
import pyarrow
import pytest

from dropzone import BadUserInput, Client, Range, ResultFilter, ResultOrder, SampleFilter, UnusableSample
from tests.stack import Stack

TIME = "2019-05-01T06:00:00Z"
ZURICH = ZoneInfo("Europe/Zurich")

WRONG: Any = 5
"""A value of a type that the type checker would refuse."""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda client: client.groups("site"), "expected a list of names of labels, got 'site'"),
        (lambda client: client.latest("site"), "expected a list of names of labels, got 'site'"),
        (lambda client: client.over_time("DAY", group_by="site"), "expected a list of names of labels, got 'site'"),
        (lambda client: client.delete("an-id"), "expected a list of ids, got 'an-id'"),
        (lambda client: list(client.wait("an-id")), "expected a list of ids, got 'an-id'"),
        (lambda client: list(client.wait([7])), "expected a list of ids, got one with 7"),
        (lambda client: client.raw(None), "expected an id as text, got NoneType"),
        (lambda client: client.delete(SampleFilter()), r"expected a list of ids, got SampleFilter\("),
        (
            lambda client: list(client.results(ResultFilter(mean=WRONG))),
            r"expected a Range such as Range\(gte=1\) for mean",
        ),
        (lambda client: client.results(ResultFilter(mean=WRONG)).to_arrow(), "expected a Range"),
        (
            lambda client: client.results(ResultFilter(labels={"room": WRONG})).to_arrow(),
            "the label room as text",
        ),
        (
            lambda client: client.summary(ResultFilter(labels=WRONG)),
            "expected labels as a dict .*, got 5",
        ),
        (lambda client: client.results({"labels": {}}), "expected a ResultFilter, got {'labels': {}}"),
        (lambda client: client.results(order_by="mean"), "expected a ResultOrder, got 'mean'"),
        (lambda client: client.results(order_by=ResultOrder(WRONG)), "expected one of timestamp, .*, got 5"),
        (lambda client: next(client.samples(ResultFilter())), "expected a SampleFilter, got ResultFilter"),
        (lambda client: next(client.samples(SampleFilter(state=WRONG))), "expected one of PENDING, .*, got 5"),
        (lambda client: next(client.watch({})), "expected a ResultFilter, got {}"),
        (lambda client: client.summary({}), "expected a ResultFilter, got {}"),
        (
            lambda client: next(client.samples(SampleFilter(submitted_at=WRONG))),
            r"expected a Range such as Range\(gte=1\) for submitted_at, got 5",
        ),
        (lambda client: client.submit({}, labels=[WRONG]), r"expected labels as a dict of names and texts, got \[5\]"),
        (lambda client: list(client.submit_many([], labels="site")), "expected labels as a dict .*, got 'site'"),
        (lambda client: client.submit({}, idempotency_key="a "), "an idempotency key .* without spaces at its ends"),
        (lambda client: client.delete(where=ResultFilter()), "expected a SampleFilter, got ResultFilter"),
        (lambda client: client.set_retention(0), "expected a Retention, got 0"),
        (lambda client: client.over_time("WEEK"), "expected one of MINUTE, FIVE_MINUTES, HOUR, DAY, got 'WEEK'"),
        (
            lambda client: client.summary(ResultFilter(timestamp=Range(gte=datetime.min.replace(tzinfo=ZURICH)))),
            "expected a time between the years 1 and 9999 in UTC, got 0001-01-01 00:00:00",
        ),
        (lambda client: list(client.results(limit=-1)), "expected a limit of at least 0, got -1"),
        (lambda client: list(client.samples(limit=1.5)), "expected a limit of at least 0, got 1.5"),
        (lambda client: list(client.submit_many([], concurrency=0)), "expected a concurrency of at least 1, got 0"),
    ],
)
def test_an_argument_of_a_wrong_type_is_an_error(call: Callable[[Any], object], message: str) -> None:
    """A text is also a list of characters: `groups("site")` would group by labels that do not exist."""
    with Client("http://127.0.0.1:9", "dz_any", retry_seconds=0) as client, pytest.raises(BadUserInput, match=message):
        call(client)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": 5, "key": "dz_any"}, "expected a URL as text, got int"),
        ({"key": b"dz_secret"}, "expected an API key as text, got bytes$"),
        ({"token": 5}, "expected an access token as text, or a function that returns it, got int"),
        ({"key": "dz_any", "submitter": 5}, "expected a submitter as text, got int"),
        ({"key": "dz_any", "retry_seconds": None}, "expected `retry_seconds` as a number of seconds, .*, got None"),
        ({"key": "dz_any", "retry_seconds": np.float32(-1)}, "expected `retry_seconds` .* 0 or more, got .*-1"),
        ({"key": "dz_any", "retry_seconds": np.nan}, "expected `retry_seconds` .* 0 or more, got nan"),
    ],
)
def test_the_arguments_of_a_new_client_are_checked(arguments: Any, message: str) -> None:
    """A key that was read as bytes is a common mistake. The message does not contain the key."""
    with pytest.raises(BadUserInput, match=message):
        Client(**arguments)


@pytest.mark.parametrize(
    "sample",
    [
        {"time_stamp": TIME, "data": [1]},
        '{"data": [1]}',
        b"{}",
        pandas.DataFrame({"data": [1]}),
        polars.DataFrame({"data": [1]}),
        pyarrow.table({"data": [1]}),
    ],
    ids=lambda sample: type(sample).__name__,
)
def test_a_single_sample_or_a_table_is_not_a_list_of_samples(sample: Any) -> None:
    """The names of its members or columns, or its characters, would be submitted."""
    with (
        Client("http://127.0.0.1:9", "dz_any") as client,
        pytest.raises(UnusableSample, match="an iterable of samples"),
    ):
        list(client.submit_many(sample))


def test_the_value_of_a_label_is_text() -> None:
    """A number is printable too, so the message names the type."""
    labels: Any = {"room": 7}
    with (
        Client("http://127.0.0.1:9", "dz_any") as client,
        pytest.raises(UnusableSample, match="expected text as the value of the label room, got 7"),
    ):
        client.submit({"time_stamp": TIME, "data": [1]}, labels=labels)


def test_nan_is_an_error_that_names_the_member_for_missing_values() -> None:
    """Only a sample with this member can have missing values."""
    with Client("http://127.0.0.1:9", "dz_any") as client, pytest.raises(UnusableSample, match='"missing": "skip"'):
        client.submit({"time_stamp": TIME, "data": np.array([1, np.nan])})


def test_numbers_of_numpy_and_the_values_of_enumerations_are_accepted(stack: Stack) -> None:
    """Notebooks compute limits, and pass texts."""
    with Client(stack.url, stack.new_key("arguments")) as client:
        list(client.wait([client.submit({"time_stamp": TIME, "data": [number]}).id for number in (1, 2)]))
        one: Any = np.float32(1)
        limit: Any = np.int64(1)
        found: Any = client.results(ResultFilter(mean=Range(gte=one)), limit=limit)
        bucket: Any = "DAY"

        assert len(list(found)) == 1
        assert [each.summary.results for each in client.over_time(bucket)] == [2]
