"""Results of the API as Python objects. Field names are the GraphQL names in snake_case.

A table of results comes from the export of the server in the Arrow format, so no Python object is created per result.
This needs pyarrow in the client: `pip install ".[arrow]"` in a clone.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from dropzone.encoding import camel_case, choice, parse_time
from dropzone.errors import BadRequest
from dropzone.statistics import (
    Histogram,
    OrderField,
    ResultFilter,
    ResultOrder,
    Statistics,
    Summary,
    label_variables,
    parse_labels,
)

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class _Identity:
    id: str
    timestamp: datetime


@dataclass(frozen=True, kw_only=True)
class Result(Statistics, _Identity):
    """The result of the sample with the same id. `timestamp` is the time stamp of the sample in UTC."""

    # A dataclass orders fields by base class, the last base first: id, timestamp, statistics, then the fields below.
    computed_at: datetime
    first_computed_at: datetime
    """When the sample was computed for the first time: before recomputations and corrections."""
    statistics_version: int
    labels: dict[str, str]
    missing_count: int
    superseded_by: str | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the result for its GraphQL object."""
        read: dict[str, Any] = {each.name: values.get(camel_case(each.name)) for each in fields(cls)}
        for name in ("timestamp", "computed_at", "first_computed_at"):
            read[name] = parse_time(read[name])
        read["labels"] = parse_labels(read["labels"])
        if (histogram := read["histogram"]) is not None:
            read["histogram"] = Histogram(tuple(histogram["edges"]), tuple(map(int, histogram["counts"])))
        return cls(**read)


@dataclass(frozen=True, slots=True)
class ResultEdge:
    """A result and its cursor. Pass the cursor as `after` to continue after this result."""

    cursor: str
    result: Result


@dataclass(frozen=True, slots=True)
class Removal:
    """A deleted or superseded sample. Its result is removed from all lists.

    `superseded_by` is the id of the sample that corrects this one, or None if the sample was deleted for a `reason`.
    """

    id: str
    removed_at: datetime
    superseded_by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class RemovalEdge:
    """A removal and its cursor. Pass the cursor as `after` to continue after this removal."""

    cursor: str
    removal: Removal

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the removal for its GraphQL object."""
        node = values["node"]
        removal = Removal(node["id"], parse_time(node["removedAt"]), node["supersededBy"], node["reason"])
        return cls(values["cursor"], removal)


class TimeBucket(StrEnum):
    """The length of a time bucket of `over_time`."""

    MINUTE = "MINUTE"
    FIVE_MINUTES = "FIVE_MINUTES"
    HOUR = "HOUR"
    DAY = "DAY"


@dataclass(frozen=True, slots=True)
class Bucket:
    """The summary of the results whose time stamps are in one time bucket. `start` is the start of the bucket.

    `labels` is empty unless `over_time` was called with `group_by`. The results of the bucket then share these labels.
    """

    start: datetime
    summary: Summary
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """The summary of the results that share `labels`."""

    labels: Mapping[str, str]
    summary: Summary


class AsyncResultQuery(AsyncIterator[Result]):
    """Results of `AsyncClient.results`. Iterate over it, or call one of the other methods."""

    def __init__(self, results: AsyncGenerator[Result, None], export: Callable[[], Awaitable[bytes]]) -> None:
        self._results = results
        self._export = export

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        return await anext(self._results)

    async def aclose(self) -> None:
        """End the iteration."""
        await self._results.aclose()

    async def to_arrow(self) -> "pyarrow.Table":
        """Return the results as a `pyarrow.Table`, with the columns of `GET /results`."""
        ipc: Any = _load("pyarrow.ipc")
        table: pyarrow.Table = ipc.open_stream(await self._export()).read_all()
        return table

    async def to_pandas(self) -> Any:
        """Return the results as a `pandas.DataFrame`, with a dict of labels in each row. Requires pandas."""
        _load("pandas")
        return (await self.to_arrow()).to_pandas(maps_as_pydicts="strict")

    async def to_polars(self) -> Any:
        """Return the results as a `polars.DataFrame`. Requires polars."""
        polars = _load("polars")
        return polars.from_arrow(await self.to_arrow())


class ResultQuery(Iterator[Result]):
    """Results of `Client.results`. Iterate over it, or call one of the other methods."""

    def __init__(self, query: AsyncResultQuery, results: Iterator[Result], call: Callable[[Any], Any]) -> None:
        self._query = query
        self._results = results
        self._call = call

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Result:
        return next(self._results)

    def to_arrow(self) -> "pyarrow.Table":
        """Return the results as a `pyarrow.Table`, with the columns of `GET /results`."""
        table: pyarrow.Table = self._call(self._query.to_arrow)
        return table

    def to_pandas(self) -> Any:
        """Return the results as a `pandas.DataFrame`, with a dict of labels in each row. Requires pandas."""
        return self._call(self._query.to_pandas)

    def to_polars(self) -> Any:
        """Return the results as a `polars.DataFrame`. Requires polars."""
        return self._call(self._query.to_polars)


def export_parameters(where: ResultFilter | None, order_by: ResultOrder | None, limit: int | None) -> dict[str, str]:
    """Return the query parameters of `GET /results` for an Arrow stream."""
    parameters = {"format": "arrow"}
    if where is not None:
        for name, bounds in where.ranges().items():
            parameters |= {f"{name}.{side}": str(bound) for side, bound in bounds.items()}
        for label in label_variables(where.labels).get("labels", []):
            parameters[f"label.{label['name']}"] = label["value"]
    if order_by is not None:
        parameters |= {
            "order_by": choice(OrderField, order_by.field).value,
            "direction": "desc" if order_by.descending else "asc",
        }
    if limit is not None:
        parameters["limit"] = str(limit)
    return parameters


def _load(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise BadRequest(f"this method requires the package {package}; install it with pip") from error
