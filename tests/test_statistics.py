"""Each declared statistic is stored, served, exported, listed in the client and documented."""

import json
import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLObjectType, build_schema, is_non_null_type

from dropzone.statistics import Statistics as ClientStatistics
from graphql_api.results.exports.columns import COLUMNS
from graphql_api.results.filters import FILTER_FIELDS, ORDER_FIELDS
from graphql_api.schema.types.result import graphql_name
from storage.documents import STATISTICS, STATISTICS_VERSION, Histogram, Result, Statistic, Statistics, Status
from storage.documents.statistics import INDEXED_FIELDS
from storage.rollups.merged_statistics import ResultStatistics
from triggers.computation import summarize

SCHEMA = build_schema(Path("schema.graphql").read_text())
DASHBOARD = Path("graphql_api/web/dashboard/src/statistics.ts").read_text()
DOCUMENTATION = Path("docs/statistics.md").read_text()
INDEXES = json.loads(Path("infra/gcp/firestore.indexes.json").read_text())
READ_TIME = datetime(2026, 1, 1, tzinfo=UTC)

every_statistic = pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)


def graphql_type(name: str) -> GraphQLObjectType | GraphQLInputObjectType:
    """Return a type of the published schema."""
    found = SCHEMA.type_map[name]
    assert isinstance(found, GraphQLObjectType | GraphQLInputObjectType)
    return found


@every_statistic
def test_a_statistic_is_computed_and_stored(statistic: Statistic) -> None:
    """The trigger function sets it, and the stored document has a field with its name."""
    statistics = summarize(np.array([1.0, 2.0, 4.0]))

    stored = Result("one", "a1", READ_TIME, 0, Status.COMPUTED, READ_TIME, statistics).fields()

    assert stored[statistic.name] is not None
    assert Statistics.from_fields(stored) == statistics


@every_statistic
def test_a_statistic_is_served_with_its_description(statistic: Statistic) -> None:
    """The GraphQL field is nullable if the statistic is."""
    field = graphql_type("Result").fields[graphql_name(statistic)]

    assert (field.description or "").startswith(statistic.description)
    assert is_non_null_type(field.type) != statistic.is_nullable


@every_statistic
def test_a_statistic_is_exported_listed_in_the_client_and_documented(statistic: Statistic) -> None:
    """The client and the documentation are outside the declaration's reach, so they repeat the name."""
    row = re.search(rf"^\| `.*{statistic.name}`.* \| {statistic.unit.value} \|", DOCUMENTATION, re.MULTILINE)
    places = {
        "the export columns": statistic.name in COLUMNS,
        "client/dropzone/statistics.py": statistic.name in {field.name for field in fields(ClientStatistics)},
        "graphql_api/web/dashboard/src/statistics.ts": f"'{graphql_name(statistic)}'" in DASHBOARD
        or statistic.value_type is Histogram,
        f"the table of docs/statistics.md with the unit `{statistic.unit.value}`": row is not None,
        "fixture/result.json": statistic.name in json.loads(Path("fixture/result.json").read_text()),
    }

    missing = [place for place, has_statistic in places.items() if not has_statistic]

    assert not missing, f"{statistic.name} is missing in {', '.join(missing)}"


@every_statistic
def test_a_statistic_can_be_filtered_and_ordered_by_if_it_is_declared_so(statistic: Statistic) -> None:
    """GraphQL, `GET /results` and the composite indexes agree."""
    order_fields = SCHEMA.type_map["ResultOrderField"]
    assert isinstance(order_fields, GraphQLEnumType)
    composite = [each for each in INDEXES["indexes"] if each["collectionGroup"] == "results"]
    first_fields = {index["fields"][2]["fieldPath"] for index in composite if len(index["fields"]) > 4}

    assert (graphql_name(statistic) in graphql_type("ResultFilter").fields) == statistic.is_indexed
    assert (statistic.name.upper() in order_fields.values) == statistic.is_indexed
    assert (statistic.name in FILTER_FIELDS) == statistic.is_indexed
    assert (statistic.name in ORDER_FIELDS) == statistic.is_indexed
    assert (statistic.name in first_fields) == statistic.is_indexed


def test_every_composite_index_of_computed_results_holds_all_indexed_fields() -> None:
    """One index per order and direction therefore serves each combination of filters on fields of every result."""
    composite = [[field["fieldPath"] for field in each["fields"]] for each in INDEXES["indexes"]]
    nullable = {statistic.name for statistic in STATISTICS.values() if statistic.is_indexed and statistic.is_nullable}
    in_order_of_time = set()

    for paths in composite:
        if paths[:2] == ["shard", "status"] and len(paths) > 4:
            order, *then = [path for path in paths[2:] if path != "label_terms"]
            assert [field for field in then if field not in nullable] == [
                each for each in INDEXED_FIELDS if each != order
            ]
            assert then == sorted(then)
            assert order == "timestamp" or nullable.isdisjoint(then)
            in_order_of_time |= nullable & {*then}
    assert in_order_of_time == nullable


@pytest.mark.parametrize("collection", ["results", "samples"])
def test_no_field_has_a_single_field_index(collection: str) -> None:
    """A new statistic costs no index write, and neither does a new field of a header."""
    overrides = [each for each in INDEXES["fieldOverrides"] if each["collectionGroup"] == collection]

    assert "*" in {each["fieldPath"] for each in overrides}
    assert [each for each in overrides if each["indexes"]] == []


def test_summaries_merge_the_statistics_that_are_declared_so() -> None:
    """Each needs code of its own in `merged_statistics`."""
    merged = [statistic.name for statistic in STATISTICS.values() if statistic.is_merged]

    assert [field.name for field in fields(ResultStatistics)] == merged
    assert {graphql_name(STATISTICS[name]) for name in merged} - {"count"} <= graphql_type(
        "ResultsSummary"
    ).fields.keys()


def test_the_client_lists_no_other_statistic() -> None:
    """A statistic that was removed from the declaration would be None in the client without notice."""
    assert {field.name for field in fields(ClientStatistics)} == STATISTICS.keys()


def test_the_statistics_version_is_that_of_the_newest_statistic_or_higher() -> None:
    """A new statistic needs a new version, so that old results can be recomputed."""
    assert max(statistic.since for statistic in STATISTICS.values()) <= STATISTICS_VERSION
