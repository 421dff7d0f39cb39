"""A query is answered or refused for want of an index exactly where production does so."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition
from google.cloud.firestore import Client

from tests.infra.firestore.queries.index_rules import INDEXES, OF_ONE_FIELD, OVERRIDES, REFUSED, SERVED, Ask
from tests.infra.firestore.server_process import FirestoreProcess, write_indexes

_SIGNS = {"ASCENDING": "+", "DESCENDING": "-", "CONTAINS": "@"}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server that has the indexes of the rules and makes no others."""
    folder = tmp_path_factory.mktemp("required")
    path = write_indexes(folder / "firestore.indexes.json", INDEXES, OVERRIDES)
    process = FirestoreProcess(folder, "--indexes", str(path))
    process.start()
    yield process.client()
    process.close()


def _asked_for(client: Client, ask: Ask) -> dict[str, Any]:
    with pytest.raises(FailedPrecondition, match="The query requires an index") as refusal:
        ask(client).get()
    addition: dict[str, Any] = json.loads(refusal.value.message.partition("firestore.indexes.json: ")[2])
    return addition


def _sign(spelled: dict[str, str]) -> str:
    return _SIGNS[spelled.get("order") or spelled["arrayConfig"]]


@pytest.mark.parametrize("rule", SERVED)
def test_a_query_that_needs_no_more_is_answered(strict: Client, rule: str) -> None:
    """By what is automatic, or by the indexes that are defined."""
    ask, _ = SERVED[rule]

    ask(strict).get()


@pytest.mark.parametrize("rule", REFUSED)
def test_a_query_that_needs_a_composite_index_asks_for_it(strict: Client, rule: str) -> None:
    """The refusal has the definition that is missing."""
    ask, index, _ = REFUSED[rule]

    asked_for = _asked_for(strict, ask)

    spelled = [_sign(each) + each["fieldPath"] for each in asked_for["fields"]]
    assert " ".join([asked_for["queryScope"], *spelled]) == index


@pytest.mark.parametrize("rule", OF_ONE_FIELD)
def test_a_query_that_needs_an_index_of_one_field_asks_for_a_field_override(strict: Client, rule: str) -> None:
    """With the indexes that the field has already: an override replaces them."""
    ask, indexes, _ = OF_ONE_FIELD[rule]

    asked_for = _asked_for(strict, ask)

    assert sorted(f"{each['queryScope']} {_sign(each)}" for each in asked_for["indexes"]) == sorted(indexes)


@pytest.mark.parametrize("rule", [*REFUSED, *OF_ONE_FIELD])
def test_the_index_that_is_asked_for_serves_the_query(client: Client, rule: str) -> None:
    """Where missing indexes are created, one is enough for each alternative of a query."""
    ask = (REFUSED.get(rule) or OF_ONE_FIELD[rule])[0]

    ask(client).get()


def test_indexes_that_are_merged_find_what_all_of_them_hold(strict: Client) -> None:
    """In the order that they agree on."""
    restaurants = strict.collection("restaurants")
    for number in range(40):
        fields = {"city": "xz"[number % 2], "category": "yzz"[number % 3], "pick": number % 5 == 0, "stars": -number}
        restaurants.document(f"{number:02}").set(fields)
    query = SERVED["three equalities and an order"][0]

    found = [each.id for each in query(strict).get()]

    assert found == ["30", "00"]
