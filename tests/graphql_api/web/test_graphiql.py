"""What a user of GraphiQL sees and does, in a real browser against the running stack."""

from urllib.parse import urlsplit

import pytest

from graphql_api.web.pages import GRAPHIQL_FOLDER
from tests.graphql_api.web.graphiql import GraphiQL
from tests.stack import Stack

pytestmark = pytest.mark.skipif(
    not (GRAPHIQL_FOLDER / "dist" / "page.html").exists(), reason="needs GraphiQL as npm builds it"
)


def test_the_first_query_runs_at_a_click_and_asks_no_other_host(stack: Stack, graphiql: GraphiQL) -> None:
    """The fixture is ready as the variable, and everything the page needs comes from our own host."""
    graphiql.open(f"{stack.url}/graphql")

    graphiql.play()

    graphiql.wait_for_answer('"id": ".+" *, *"state": "PENDING"')
    assert graphiql.hosts() == {urlsplit(stack.url).netloc}
    assert graphiql.console() == []


def test_the_result_of_what_was_submitted_is_in_the_next_tab(stack: Stack, graphiql: GraphiQL) -> None:
    """Two clicks after the receipt its numbers are there."""
    graphiql.open(f"{stack.url}/graphql")
    graphiql.play()
    receipt = graphiql.wait_for_answer('"id": "([^"]+)"')
    graphiql.show_tab("LatestResults")

    def shown() -> bool:
        graphiql.play()
        return receipt[1] in graphiql.answer()

    graphiql.wait_for(shown)
    graphiql.wait_for_answer(r'"timestamp": "2019-05-01T10:00:00Z" *, *"mean": 0\.99852825175660')


def test_the_schema_explains_itself(stack: Stack, graphiql: GraphiQL) -> None:
    """The documentation shows the descriptions that the schema has."""
    mutation = stack.graphql('{ __type(name: "Mutation") { fields { name description } } }')["__type"]
    descriptions = {field["name"]: field["description"] for field in mutation["fields"]}
    first_sentence = descriptions["submit"].partition(".")[0]
    graphiql.open(f"{stack.url}/graphql")

    graphiql.press("[aria-label='Show Documentation Explorer']")
    graphiql.press(".graphiql-doc-explorer-type-name", "Mutation")

    graphiql.wait_for(lambda: first_sentence in (graphiql.text(".graphiql-doc-explorer") or ""))


def test_the_subscription_shows_results_as_they_come(stack: Stack, graphiql: GraphiQL) -> None:
    """The watch is a WebSocket to the same host, and its key goes along."""
    graphiql.open(f"{stack.url}/graphql")
    graphiql.show_tab("WatchResults")

    graphiql.play()

    def submitted_and_shown() -> bool:
        stack.submit({"time_stamp": "2026-11-23T12:00:00Z", "data": [7.25, 7.5]})
        return '"mean": 7.375' in graphiql.answer()

    graphiql.wait_for(submitted_and_shown)
    assert graphiql.hosts() == {urlsplit(stack.url).netloc}


def test_a_watch_that_was_interrupted_says_where_to_go_on(own_stack: Stack, graphiql: GraphiQL) -> None:
    """By the cursor of the last result: its answer is gone from the screen."""
    stack = own_stack
    graphiql.open(f"{stack.url}/graphql")
    graphiql.show_tab("WatchResults")
    graphiql.play()

    def submitted_and_shown() -> bool:
        stack.submit_fixture()
        return '"mean": 0.99' in graphiql.answer()

    graphiql.wait_for(submitted_and_shown)

    stack.stop()

    graphiql.wait_for_answer("Press play to watch again")
    shown = [message["payload"]["data"]["results"] for message in graphiql.received() if message["type"] == "next"]
    assert shown[-1]["cursor"] in graphiql.answer().replace(" ", "")  # lines are broken within words


def test_whoever_comes_by_another_name_gives_a_key_first(stack: Stack, graphiql: GraphiQL) -> None:
    """Without a key every answer says so; with one that the user gives, the page works."""
    port = urlsplit(stack.url).port
    graphiql.open(f"http://dropzone.test:{port}/graphql")
    graphiql.play()
    graphiql.wait_for_answer("UNAUTHENTICATED")
    graphiql.write("#key", "wrong")
    graphiql.press(".key button")
    graphiql.play()
    graphiql.wait_for_answer("UNAUTHENTICATED")
    graphiql.press(".key button", "Forget it")

    graphiql.write("#key", stack.key)
    graphiql.press(".key button")
    graphiql.play()

    graphiql.wait_for_answer('"state": "PENDING"')


def test_the_tabs_are_still_there_after_a_reload(stack: Stack, graphiql: GraphiQL) -> None:
    """What GraphiQL opened with, it opens with again, and it still runs."""
    graphiql.open(f"{stack.url}/graphql")
    graphiql.open(f"{stack.url}/graphql")

    graphiql.play()

    graphiql.wait_for_answer('"state": "PENDING"')
    tabs = graphiql.text(".graphiql-tab-button")
    assert tabs == "SubmitSample SubmitMany LatestResults ResultsInRange Summary WatchResults OneSample"


def test_every_example_runs_as_it_is(stack: Stack, graphiql: GraphiQL) -> None:
    """Each tab that asks answers with data, its variables being ready; what is wrong with a sample can be read."""
    stack.wait_for(stack.submit_fixture()["id"])
    graphiql.open(f"{stack.url}/graphql")
    expected = {
        "SubmitMany": "expected a UTC offset",
        "LatestResults": '"computedAt": "20',
        "ResultsInRange": '"totalCount": [1-9]',
        "Summary": '"values": [1-9]',
    }

    for name, answer in expected.items():
        graphiql.show_tab(name)
        graphiql.play()
        graphiql.wait_for_answer(answer)
        assert '"errors"' not in graphiql.answer()


def test_a_query_can_be_built_by_ticking_fields_and_is_remembered(stack: Stack, graphiql: GraphiQL) -> None:
    """The schema as a tree beside the editor, and the history of what was run."""
    graphiql.open(f"{stack.url}/graphql")
    graphiql.play()
    graphiql.wait_for_answer('"state": "PENDING"')

    graphiql.press("[aria-label='Show GraphiQL Explorer']")
    graphiql.press("[data-field-name='sha256']")
    graphiql.wait_for(lambda: "sha256" in (graphiql.text(".graphiql-query-editor .view-lines") or ""))

    graphiql.press("[aria-label='Show History']")
    graphiql.wait_for(lambda: "SubmitSample" in (graphiql.text(".graphiql-history") or ""))


def test_a_link_brings_its_query_beside_what_was_there(stack: Stack, graphiql: GraphiQL) -> None:
    """Also to somebody who has tabs from an earlier visit; the address forgets it, and a reload keeps it."""
    graphiql.open(f"{stack.url}/graphql")
    graphiql.go_to(f"{stack.url}/graphql#query=query+Linked+%7B+__typename+%7D&variables=%7B%7D")
    graphiql.wait_for(lambda: graphiql.address == f"{stack.url}/graphql")
    graphiql.wait_for(lambda: "Linked" in (graphiql.text(".graphiql-tab-button") or ""))

    graphiql.open(f"{stack.url}/graphql")
    graphiql.play()

    graphiql.wait_for_answer('"__typename": "Query"')
    assert (graphiql.text(".graphiql-tab-button") or "").split()[0] == "SubmitSample"
