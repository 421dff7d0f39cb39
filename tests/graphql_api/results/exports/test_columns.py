"""A column of an export has the values that are stored, also if results lack some of them or are damaged."""

from datetime import UTC
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.exports.columns import COLUMNS, HISTOGRAMS, INTEGERS, TIMES, batch_of
from storage.firestore import encoding
from storage.firestore.messages import RunQueryResponse
from storage.firestore.reads.page_messages import EncodedPage

NUMBERS = st.floats(allow_nan=False)
WHOLE_NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
STORED_TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(fold=0))
DAMAGED = st.none() | st.booleans() | NUMBERS | WHOLE_NUMBERS | TEXTS | STORED_TIMES | st.lists(NUMBERS, max_size=2)


@st.composite
def histograms(draw: st.DrawFn) -> dict[str, Any]:
    """Return a histogram with any number of bins."""
    counts = draw(st.lists(WHOLE_NUMBERS, max_size=3))
    return {"counts": counts, "edges": draw(st.lists(NUMBERS, min_size=len(counts) + 1, max_size=len(counts) + 1))}


def value(column: str) -> st.SearchStrategy[Any]:
    """Return the values of a column in results that are not damaged."""
    if column == "labels":
        return st.dictionaries(TEXTS, TEXTS, max_size=3)
    if column in HISTOGRAMS:
        return histograms()
    if column in TIMES:
        return STORED_TIMES
    return WHOLE_NUMBERS if column in INTEGERS else NUMBERS


def results(damage: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return lists of the fields of results. Each field can be missing."""
    fields = {name: value(name) | damage for name in COLUMNS[1:]}
    return st.lists(st.fixed_dictionaries({}, optional=fields), min_size=1, max_size=4)


def page(stored: list[dict[str, Any]]) -> Any:
    """Return results as a page of documents with encoded values, as `PageReader` reads it."""
    read = EncodedPage()
    for number, fields in enumerate(stored):
        document = encoding.to_write(f"a/{number}", fields).update
        read.MergeFromString(RunQueryResponse(document=document, read_time={"seconds": 1}).SerializeToString())
    return read.documents


def exported(column: str, stored: Any) -> Any:
    """Return the value in an export. `stored` is None if the result lacks the field."""
    if column == "missing_count":
        return stored or 0
    return {} if column == "labels" and stored is None else stored


def comparable(value: Any) -> str:
    """Return a text that tells 0 from 0.0 and -0.0. It does not tell in which order a map has its names."""
    return repr(sorted(value.items()) if isinstance(value, dict) else value)


async def check(stored: list[dict[str, Any]]) -> None:
    """Convert results to columns, and compare the values with those that are stored."""
    batch = await batch_of(page(stored), LoopTurns().of("a"))

    assert list(batch) == list(COLUMNS)
    assert batch["id"] == [str(number) for number in range(len(stored))]
    for name in COLUMNS[1:]:
        expected = [exported(name, fields.get(name)) for fields in stored]
        assert [*map(comparable, batch[name])] == [*map(comparable, expected)]


@given(results(damage=st.nothing()))
async def test_a_column_has_the_stored_values(stored: list[dict[str, Any]]) -> None:
    await check(stored)


@given(results(damage=DAMAGED))
async def test_a_value_of_another_type_is_exported_as_it_is_stored(stored: list[dict[str, Any]]) -> None:
    await check(stored)


async def test_a_histogram_with_other_values_is_exported_as_it_is_stored() -> None:
    histogram = {"edges": [0.0, 1, "two"], "counts": [3, 4]}

    await check([{"histogram": histogram}, {"histogram": {"edges": [0.0, 1.0], "counts": [5]}}, {}])


async def test_results_can_share_their_labels() -> None:
    shared = {"sensor": "a", "site": "b"}

    await check([{"labels": shared}, {}, {"labels": {"sensor": "a"}}, {"labels": shared}, {"labels": {}}])
