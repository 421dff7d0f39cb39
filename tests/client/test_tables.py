"""Results as tables, and samples with values of NumPy."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from dropzone import (
    BadUserInput,
    Client,
    OrderField,
    Range,
    Receipt,
    ResultFilter,
    ResultOrder,
    SampleFilter,
    UnusableSample,
)
from tests.stack import Stack

START = datetime(2019, 5, 1, tzinfo=UTC)
HALF: Any = np.float32(0.5)


@pytest.fixture(scope="module")
def client(stack: Stack) -> Any:
    """Return a client whose submitter has four results of two sensors."""
    with Client(stack.url, stack.new_key("tables")) as client:
        receipts = [
            client.submit(
                {"time_stamp": START + timedelta(hours=hour), "data": np.arange(hour + 1)}, labels={"unit": unit}
            )
            for hour in (0, 1)
            for unit in ("V", "A")
        ]
        list(client.wait([receipt.id for receipt in receipts]))
        yield client


def test_a_table_has_the_results_of_the_query(client: Client) -> None:
    """It has the filter, the order and the limit of the query."""
    pytest.importorskip("pyarrow")
    where = ResultFilter(labels={"unit": "V"}, timestamp=Range(gte=START), mean=Range(lt=10))

    table = client.results(where, ResultOrder(OrderField.TIMESTAMP)).to_arrow()

    assert table.column("mean").to_pylist() == [0, 0.5]
    assert table.column("timestamp").to_pylist() == [START, START + timedelta(hours=1)]
    assert [dict(labels) for labels in table.column("labels").to_pylist()] == [{"unit": "V"}] * 2
    assert table.column("id").to_pylist() == [result.id for result in client.results(where)][::-1]
    assert client.results(limit=3).to_arrow().num_rows == 3


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (ResultFilter(mean=Range(gte=HALF)), 2),
        (ResultFilter(count=Range(gte=2.0)), 2),
        (ResultFilter(mean=Range(lte=np.nextafter(0.5, 0))), 2),
        (ResultFilter(timestamp=Range(gt=START)), 2),
    ],
)
def test_a_table_has_the_results_of_the_iteration(client: Client, where: ResultFilter, count: int) -> None:
    """Both send the same bounds, of any type of number."""
    pytest.importorskip("pyarrow")

    assert client.results(where).to_arrow().num_rows == len(list(client.results(where))) == count


@pytest.mark.parametrize("bound", [float("inf"), float("nan"), np.float32("-inf"), datetime(2019, 5, 1), "many"])
def test_a_bound_without_a_definite_value_is_refused(client: Client, bound: Any) -> None:
    """A time without a zone would depend on the machine. JSON has no infinity. A watch does not reconnect."""
    where = ResultFilter(mean=Range(lt=bound))
    with pytest.raises(BadUserInput, match="expected a"):
        client.results(where).to_arrow()
    with pytest.raises(BadUserInput, match="expected a"):
        list(client.results(where))
    with pytest.raises(BadUserInput, match="expected a"):
        next(client.watch(where))
    with pytest.raises(BadUserInput, match="expected a"):
        next(client.samples(SampleFilter(submitted_at=Range(gte=bound))))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_table_becomes_a_data_frame(client: Client, library: str) -> None:
    """Times keep their zone."""
    pytest.importorskip("pyarrow")
    pytest.importorskip(library)
    query = client.results(order_by=ResultOrder(OrderField.TIMESTAMP))

    frame = query.to_pandas() if library == "pandas" else query.to_polars()

    assert sorted(frame["mean"]) == [0, 0, 0.5, 0.5]
    assert min(frame["timestamp"]) == START
    if library == "pandas":
        assert sorted(frame["labels"].str["unit"]) == ["A", "A", "V", "V"]


@pytest.mark.parametrize("data", [[float("nan")], [1j], np.array([1.0, np.inf])])
def test_values_that_json_cannot_represent_are_refused(client: Client, data: Any) -> None:
    """NaN is not JSON, so the server could not store the sample."""
    with pytest.raises(UnusableSample):
        client.submit({"time_stamp": START, "data": data})


def test_infinity_is_not_a_missing_value(client: Client) -> None:
    """The error does not advise to skip missing values if the sample does so already."""
    with pytest.raises(UnusableSample, match=r"leaves out NaN, but not infinity$"):
        client.submit({"time_stamp": START, "data": [1.0, float("inf")], "missing": "skip"})


def test_nan_is_a_missing_value_if_the_sample_skips_missing_values(client: Client) -> None:
    """The statistics are those of the other values."""
    receipt = client.submit({"time_stamp": START, "data": np.array([1, np.nan, 3]), "missing": "skip"})
    (settled,) = client.wait([receipt.id])
    result = client.result(receipt.id)

    assert result is not None
    assert settled.result is not None
    assert (settled.result.mean, result.missing_count, client.sample(receipt.id).missing_count) == (2, 1, 1)


@pytest.mark.parametrize("kind", ["Int64", "Float64", "pd.array", "polars", "pyarrow", "chunked", "masked"])
def test_arrays_and_columns_of_data_frames_are_data(client: Client, kind: str) -> None:
    """Their missing values are null."""
    masked: Any = np.ma
    pandas, polars, pyarrow = map(pytest.importorskip, ("pandas", "polars", "pyarrow"))
    data = {
        "Int64": lambda: pandas.Series([1, None, 3]).convert_dtypes(),
        "Float64": lambda: pandas.Series([1, None, 3], dtype="Float64"),
        "pd.array": lambda: pandas.array([1, None, 3], dtype="Int64"),
        "polars": lambda: polars.Series([1, None, 3]),
        "pyarrow": lambda: pyarrow.array([1, None, 3]),
        "chunked": lambda: pyarrow.chunked_array([[1, None], [3]]),
        "masked": lambda: masked.array([1, 2, 3], mask=[False, True, False]),
    }[kind]()

    skipped = client.submit({"time_stamp": START, "data": data, "missing": "skip"})
    unmarked = client.submit({"time_stamp": START, "data": data})
    complete = client.submit({"time_stamp": START, "data": data[:1]})

    assert client.raw(skipped.id).count(b"[1,null,3]") + client.raw(skipped.id).count(b"[1.0,null,3.0]") == 1
    [problem] = map(str, unmarked.problems)
    assert problem == 'expected a number, got null; to leave out nulls, add the member "missing": "skip" - at $.data[1]'
    assert complete.state == "PENDING"


@pytest.mark.parametrize("missing", [{}, {"missing": "skip"}])
def test_columns_and_keys_are_not_values(client: Client, missing: dict[str, str]) -> None:
    """A data frame whose columns are numbers would be submitted as these numbers."""
    pandas, polars = map(pytest.importorskip, ("pandas", "polars"))
    sample = {"time_stamp": START, **missing}

    for data in (pandas.DataFrame([[20.5, 21.5]]), polars.DataFrame({"0": [20.5]}), b"12"):
        with pytest.raises(UnusableSample, match="is not a type of JSON"):
            client.submit({**sample, "data": data})
    [problem] = client.submit({**sample, "data": {1: 20.5}}).problems
    assert str(problem) == "expected a list of numbers, got an object - at $.data"


def test_a_time_zone_of_the_past_can_have_an_offset_with_seconds(client: Client) -> None:
    """RFC 3339 cannot represent such an offset. The time is sent in UTC."""
    local_mean_time = datetime(1850, 1, 1, tzinfo=ZoneInfo("Europe/Zurich"))

    receipt = client.submit({"time_stamp": local_mean_time, "data": [1]})

    assert receipt.problems == ()
    assert client.sample(receipt.id).time_stamp == "1849-12-31T23:25:52+00:00"
    with pytest.raises(UnusableSample, match="out of range"):
        client.submit({"time_stamp": datetime.min.replace(tzinfo=ZoneInfo("Europe/Zurich")), "data": [1]})


def test_an_object_that_is_not_a_sample_is_one_refused_sample(client: Client) -> None:
    """The series goes on after it."""
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    time = {"time_stamp": START}
    wrong: list[Any] = [None, 5, [1, 2], {**time, "data": deep}, {**time, "data": np.array([1], dtype=np.longdouble)}]

    outcomes = list(client.submit_many([*wrong, bytearray(b'{"time_stamp":"never","data":[1]}')]))

    assert [type(outcome) for outcome in outcomes] == [UnusableSample] * 5 + [Receipt]
    assert "expected JSON text, or a mapping such as a dict, got NoneType" in str(outcomes[0])
    for sample in wrong:
        with pytest.raises(UnusableSample):
            client.submit(sample)
    labels: Any = {"unit": 5}
    with pytest.raises(UnusableSample, match="label unit, got 5"):
        client.submit({**time, "data": [1]}, labels=labels)


def test_a_time_without_a_zone_is_refused(client: Client) -> None:
    """The instant would depend on the machine."""
    with pytest.raises(UnusableSample, match="time zone"):
        client.submit({"time_stamp": datetime(2019, 5, 1), "data": [1]})


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_a_time_of_numpy_is_refused_with_what_to_use(client: Client, unit: str) -> None:
    """It has no zone. In nanoseconds, it would be submitted as a number, also as data."""
    pandas = pytest.importorskip("pandas")
    time: Any = np.datetime64("2019-05-01T06:00:00", unit)  # type: ignore[call-overload]  # NumPy declares each unit as a literal
    wrong: list[Any] = [
        {"time_stamp": time, "data": [1]},
        {"time_stamp": START, "data": np.array([time, time])},
        {"time_stamp": START, "data": np.array([time - time]), "missing": "skip"},
    ]

    for sample in wrong:
        with pytest.raises(
            UnusableSample, match=r"64\[.*\] is not a type of JSON; .*pandas.Timestamp\(time, tz='UTC'\)"
        ):
            client.submit(sample)
    with pytest.raises(BadUserInput, match=r"pandas.Timestamp\(time, tz='UTC'\)"):
        list(client.results(ResultFilter(timestamp=Range(gte=time))))
    receipt = client.submit({"time_stamp": pandas.Timestamp(time, tz="UTC"), "data": [unit.encode()[0]]})
    assert client.sample(receipt.id).time_stamp == pandas.Timestamp(time, tz="UTC").isoformat()


def test_a_time_in_nanoseconds_is_sent_with_all_its_digits(client: Client) -> None:
    """The server uses six of them, for the result and for filters."""
    pandas = pytest.importorskip("pandas")
    time = pandas.Timestamp("2018-05-01T06:00:00.123456789Z")

    receipt = client.submit({"time_stamp": time, "data": [1]})
    list(client.wait([receipt.id]))
    found = list(client.results(ResultFilter(timestamp=Range(gte=time, lte=time))))

    assert client.sample(receipt.id).time_stamp == "2018-05-01T06:00:00.123456789+00:00"
    assert [(each.id, each.timestamp) for each in found] == [(receipt.id, time.to_pydatetime(warn=False))]
