"""A line of NDJSON has the values of a result, with all digits and the times as texts."""

import json
from datetime import UTC, datetime

from graphql_api.results.exports.columns import COLUMNS
from graphql_api.results.exports.formats import Ndjson

NUMBERS = (-0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e16, -123456789012345680.0, 1e-7)
MAX_INTEGER = 2**63 - 1


def test_each_line_has_all_columns_in_order_and_missing_values_are_null() -> None:
    first = dict.fromkeys(COLUMNS) | {"id": "a", "labels": {"sensor": 'a"\n'}, "count": MAX_INTEGER}
    second = dict.fromkeys(COLUMNS) | {"id": "b", "labels": {}, "histogram": {"edges": [0.0, 1.5], "counts": [2]}}

    lines = Ndjson().write({name: [first[name], second[name]] for name in COLUMNS}).splitlines()

    assert [[*json.loads(line).items()] for line in lines] == [[*first.items()], [*second.items()]]


def test_numbers_keep_all_digits() -> None:
    batch = {name: [None] * len(NUMBERS) for name in COLUMNS} | {"mean": [*NUMBERS]}

    lines = Ndjson().write(batch).splitlines()

    assert [repr(json.loads(line)["mean"]) for line in lines] == [*map(repr, NUMBERS)]


def test_times_are_texts_in_utc_without_trailing_zeros() -> None:
    time = datetime(2026, 12, 1, 21, 17, 10, 100_000, tzinfo=UTC)
    batch = {name: [None] for name in COLUMNS} | {"timestamp": [time], "computed_at": [time.replace(microsecond=0)]}

    row = json.loads(Ndjson().write(batch))

    assert (row["timestamp"], row["computed_at"]) == ("2026-12-01T21:17:10.1Z", "2026-12-01T21:17:10Z")
