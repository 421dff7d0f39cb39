"""A query is served, or rejected because an index is missing, exactly where production does so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition
from google.cloud.firestore import Client

from tests.infra.firestore.queries.index_rules import INDEXES, OF_ONE_FIELD, OVERRIDES, REJECTED, SERVED
from tests.infra.firestore.queries.rule_queries import DOCUMENTS, Aggregate, Find
from tests.infra.firestore.server_process import FirestoreProcess, write_indexes

_SIGNS = {"ASCENDING": "+", "DESCENDING": "-", "CONTAINS": "@"}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server that has the documents and indexes of the rules, and creates no other indexes."""
    folder = tmp_path_factory.mktemp("strict")
    indexes = write_indexes(folder / "firestore.indexes.json", INDEXES, OVERRIDES)
    yield from _serve(folder, "--indexes", str(indexes))


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server that has the documents of the rules, and creates missing indexes."""
    yield from _serve(tmp_path_factory.mktemp("lenient"))


def _serve(folder: Path, *options: str) -> Iterator[Client]:
    process = FirestoreProcess(folder, *options)
    process.start()
    client = process.client()
    batch = client.batch()
    for path, fields in DOCUMENTS.items():
        batch.set(client.document(path), dict(fields))
    batch.commit()
    yield client
    process.close()


def _required_definition(client: Client, query: Find | Aggregate) -> dict[str, Any]:
    with pytest.raises(FailedPrecondition, match="The query requires an index") as error:
        query.run(client)
    definition: dict[str, Any] = json.loads(error.value.message.partition("firestore.indexes.json: ")[2])
    return definition


def _sign(index: dict[str, str]) -> str:
    return _SIGNS[index.get("order") or index["arrayConfig"]]


@pytest.mark.parametrize("rule", [*SERVED, *REJECTED, *OF_ONE_FIELD])
def test_every_query_of_the_rules_has_results(rule: str) -> None:
    """Otherwise the tests below would compare empty lists."""
    query = (SERVED.get(rule) or REJECTED.get(rule) or OF_ONE_FIELD[rule])[0]

    assert len(query.expected()) > 0
    assert not isinstance(query, Aggregate) or query.expected()["documents"] > 0


@pytest.mark.parametrize("rule", SERVED)
def test_a_query_with_the_required_indexes_is_served(strict: Client, rule: str) -> None:
    """By automatic single-field indexes or by the defined indexes, with the right documents in the right order."""
    query, _ = SERVED[rule]

    assert query.run(strict) == query.expected()


@pytest.mark.parametrize("rule", REJECTED)
def test_a_query_without_its_composite_index_is_rejected(strict: Client, rule: str) -> None:
    """The error contains the definition of the missing index."""
    query, index, _ = REJECTED[rule]

    definition = _required_definition(strict, query)

    fields = [_sign(each) + each["fieldPath"] for each in definition["fields"]]
    assert " ".join([definition["queryScope"], *fields]) == index


@pytest.mark.parametrize("rule", OF_ONE_FIELD)
def test_a_query_without_its_single_field_index_is_rejected(strict: Client, rule: str) -> None:
    """The error contains a field override. It includes the existing indexes, because an override replaces them."""
    query, indexes, _ = OF_ONE_FIELD[rule]

    definition = _required_definition(strict, query)

    assert sorted(f"{each['queryScope']} {_sign(each)}" for each in definition["indexes"]) == sorted(indexes)


@pytest.mark.parametrize("rule", [*REJECTED, *OF_ONE_FIELD])
def test_the_required_index_serves_the_query(lenient: Client, rule: str) -> None:
    """A server that creates missing indexes creates one for each disjunction, and returns the right results."""
    query = (REJECTED.get(rule) or OF_ONE_FIELD[rule])[0]

    assert query.run(lenient) == query.expected()


def test_merged_indexes_find_the_documents_that_all_of_them_contain(strict: Client) -> None:
    """In the order that the indexes share."""
    query = SERVED["three equalities and an order"][0]

    assert query.run(strict) == ["restaurants/30", "restaurants/00"]
