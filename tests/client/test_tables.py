"""Results as tables, and samples with values of NumPy."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from dropzone import BadUserInput, Client, OrderField, Range, ResultFilter, ResultOrder, SampleFilter, UnusableSample
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


@pytest.mark.parametrize("data", [[float("nan")], [1j], np.array([1.0, np.inf])])
def test_values_that_json_cannot_represent_are_refused(client: Client, data: Any) -> None:
    """NaN is not JSON, so the server could not store the sample."""
    with pytest.raises(UnusableSample):
        client.submit({"time_stamp": START, "data": data})


def test_nan_is_a_missing_value_if_the_sample_skips_missing_values(client: Client) -> None:
    """The statistics are those of the other values."""
    receipt = client.submit({"time_stamp": START, "data": np.array([1, np.nan, 3]), "missing": "skip"})
    (settled,) = client.wait([receipt.id])
    result = client.result(receipt.id)

    assert result is not None
    assert settled.result is not None
    assert (settled.result.mean, result.missing_count, client.sample(receipt.id).missing_count) == (2, 1, 1)


def test_a_time_without_a_zone_is_refused(client: Client) -> None:
    """The instant would depend on the machine."""
    with pytest.raises(UnusableSample, match="time zone"):
        client.submit({"time_stamp": datetime(2019, 5, 1), "data": [1]})
