"""GraphiQL in a real browser, against the running stack."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

from tests.graphql_api.web.graphiql import GraphiQL
from tests.stack import Stack


def test_first_tab_returns_a_result_without_requests_to_other_hosts(stack: Stack, graphiql: GraphiQL) -> None:
    """The page loads all files from the server."""
    stack.wait_for(stack.submit_fixture()["id"])
    graphiql.open(stack)

    graphiql.play()

    graphiql.wait_for_response('"id": ".+" *, *"timestamp": "20.+" *, *"mean": ')
    assert graphiql.hosts() == {urlsplit(stack.url).netloc}
    assert graphiql.console() == []


def test_latest_results_contain_the_submitted_sample(stack: Stack, graphiql: GraphiQL) -> None:
    """The result is two clicks away from the receipt."""
    graphiql.open(stack)
    graphiql.show_tab("SubmitSample")
    graphiql.play()
    receipt = graphiql.wait_for_response('"id": "([^"]+)"')
    graphiql.show_tab("LatestResults")

    def shown() -> bool:
        graphiql.play()
        return receipt[1] in graphiql.response()

    graphiql.wait_for(shown)
    today = datetime.now(UTC).date()
    dates = f"{today - timedelta(days=1)}|{today}"
    graphiql.wait_for_response(rf'"timestamp": "({dates})T[^"]+" *, *"mean": 0\.99852825175660')


def test_documentation_contains_the_descriptions_of_the_schema(stack: Stack, graphiql: GraphiQL) -> None:
    """The description of `submit` is displayed."""
    mutation = stack.graphql('{ __type(name: "Mutation") { fields { name description } } }')["__type"]
    descriptions = {field["name"]: field["description"] for field in mutation["fields"]}
    first_sentence = descriptions["submit"].partition(".")[0]
    graphiql.open(stack)

    graphiql.press("[aria-label='Show Documentation Explorer']")
    graphiql.press(".graphiql-doc-explorer-type-name", "Mutation")

    graphiql.wait_for(lambda: first_sentence in (graphiql.text(".graphiql-doc-explorer") or ""))


def test_subscription_displays_new_results(stack: Stack, graphiql: GraphiQL) -> None:
    """It uses a WebSocket to the same host, with the session in the cookie."""
    graphiql.open(stack)
    graphiql.show_tab("WatchResults")

    graphiql.play()

    def submitted_and_shown() -> bool:
        stack.submit({"time_stamp": "2026-11-23T12:00:00Z", "data": [7.25, 7.5]})
        return '"mean": 7.375' in graphiql.response()

    graphiql.wait_for(submitted_and_shown)
    assert graphiql.hosts() == {urlsplit(stack.url).netloc}


def last_cursor(graphiql: GraphiQL) -> str:
    """Return the cursor of the last response of a subscription, which has one root field."""
    *_, response = [message["payload"]["data"] for message in graphiql.received() if message["type"] == "next"]
    (field,) = response.values()
    cursor: str = field["cursor"]
    return cursor


def test_interrupted_subscription_displays_the_last_cursor(own_stack: Stack, graphiql: GraphiQL) -> None:
    """The error replaces the last response, so it must contain the cursor."""
    stack = own_stack
    graphiql.open(stack)
    graphiql.show_tab("WatchResults")
    graphiql.play()

    def submitted_and_shown() -> bool:
        stack.submit_fixture()
        return '"mean": 0.99' in graphiql.response()

    graphiql.wait_for(submitted_and_shown)

    stack.stop()

    graphiql.wait_for_response("Press play to watch again")
    assert last_cursor(graphiql) in graphiql.response().replace(" ", "")  # the editor wraps lines within words


def test_interrupted_removals_display_the_last_cursor(own_stack: Stack, graphiql: GraphiQL) -> None:
    """The subscription has an alias."""
    stack = own_stack
    graphiql.sign_in(stack)
    query = "subscription { removed: removals { cursor node { id } } }"
    graphiql.go_to(f"{stack.url}/graphql#{urlencode({'query': query})}")
    graphiql.wait_until_usable()
    graphiql.play()

    def deleted_and_shown() -> bool:
        sample_id = stack.submit_fixture()["id"]
        stack.graphql('mutation ($id: ID!) { deleteSamples(ids: [$id], reason: "") { id } }', {"id": sample_id})
        return '"removed": ' in graphiql.response()

    graphiql.wait_for(deleted_and_shown)

    stack.stop()

    graphiql.wait_for_response("Press play to watch again")
    assert last_cursor(graphiql) in graphiql.response().replace(" ", "")


def test_a_key_is_exchanged_for_a_session(stack: Stack, graphiql: GraphiQL) -> None:
    """Without a session each response is an error. With a session the page works, and a reload keeps it."""
    graphiql.go_to(f"{stack.url}/graphql")
    graphiql.wait_until_usable()
    graphiql.wait_for(lambda: graphiql.text("#key") is not None)
    assert graphiql.run("return document.activeElement.id") == "key"
    graphiql.play()
    graphiql.wait_for_response("UNAUTHENTICATED")
    graphiql.write("#key", "wrong")
    graphiql.press(".key button")
    graphiql.wait_for(lambda: "valid API key" in (graphiql.text(".key strong") or ""))
    graphiql.run("document.querySelector('#key').value = ''")

    graphiql.write("#key", stack.key)
    graphiql.press(".key button")
    graphiql.wait_for(lambda: "Signed in as local" in (graphiql.text(".key") or ""))
    graphiql.play()

    graphiql.wait_for_response('"edges": ')
    graphiql.press(".key button", "Sign out")
    graphiql.wait_for(lambda: graphiql.text("#key") is not None)
    graphiql.play()
    graphiql.wait_for_response("UNAUTHENTICATED")


def test_the_documentation_is_displayed_after_a_sign_in(stack: Stack, graphiql: GraphiQL) -> None:
    """The schema needs a session. The page reads the schema again, also after a sign-in with a link."""
    graphiql.go_to(f"{stack.url}/graphql")
    graphiql.wait_until_usable()
    graphiql.press("[aria-label='Show Documentation Explorer']")
    graphiql.wait_for(lambda: "Error fetching schema" in (graphiql.text(".graphiql-doc-explorer") or ""))

    graphiql.write("#key", stack.key)
    graphiql.press(".key button")

    graphiql.wait_for(lambda: "mutation: Mutation" in (graphiql.text(".graphiql-doc-explorer") or ""))
    graphiql.press(".key button", "Sign out")
    graphiql.wait_for(lambda: graphiql.text("#key") is not None)
    link = stack.keys("sign-in-link", "--file", str(stack.key_file), "--url", f"{stack.url}/graphql").strip()
    graphiql.go_to("about:blank")
    graphiql.go_to(link.replace("/#", "#"))
    graphiql.wait_for(lambda: "mutation: Mutation" in (graphiql.text(".graphiql-doc-explorer") or ""))


def test_the_page_asks_for_a_key_after_the_end_of_the_session(stack: Stack, graphiql: GraphiQL) -> None:
    """The server refuses the next operation. It closes the WebSocket of a subscription."""
    for tab in ("LatestResults", "WatchResults"):
        graphiql.open(stack)
        graphiql.wait_for(lambda: "Signed in as local" in (graphiql.text(".key") or ""))
        graphiql.show_tab(tab)
        graphiql.command("Network.clearBrowserCookies")

        graphiql.play()

        graphiql.wait_for(lambda: graphiql.text("label[for=key]") == "Enter an API key:")


def test_a_key_in_the_headers_is_not_kept(stack: Stack, graphiql: GraphiQL) -> None:
    """The browser keeps tabs and history, but not the headers."""
    graphiql.open(stack)
    graphiql.press(".graphiql-editor-tools button", "Headers")
    graphiql.type_into(".graphiql-editor-tool .graphiql-editor:not(.hidden)", f'{{"X-API-Key": "{stack.key}')

    graphiql.play()

    graphiql.wait_for_response('"edges": ')
    kept = graphiql.wait_for(
        lambda: (all_ := graphiql.run("return {...localStorage}")).get("dropzone:graphiql:queries") and all_
    )
    assert "LatestResults" in kept["dropzone:graphiql:queries"]
    assert stack.key not in "".join(kept.values())


def test_a_sign_in_link_signs_in(stack: Stack, graphiql: GraphiQL) -> None:
    """The page removes the token from the address. A link works once, but the session remains if it is used again."""
    link = stack.keys("sign-in-link", "--file", str(stack.key_file), "--url", f"{stack.url}/graphql").strip()

    for _ in range(2):
        graphiql.go_to("about:blank")
        graphiql.go_to(link.replace("/#", "#"))
        graphiql.wait_for(lambda: "Signed in as local" in (graphiql.text(".key") or ""))

        assert graphiql.address == f"{stack.url}/graphql"
    graphiql.command("Network.clearBrowserCookies")
    graphiql.go_to("about:blank")
    graphiql.go_to(link.replace("/#", "#"))
    graphiql.wait_for(lambda: "was used or has expired" in (graphiql.text(".key strong") or ""))


def test_tabs_survive_a_reload(stack: Stack, graphiql: GraphiQL) -> None:
    """The first operation still runs."""
    graphiql.open(stack)
    graphiql.open(stack)

    graphiql.play()

    graphiql.wait_for_response('"edges": ')
    tabs = graphiql.text(".graphiql-tab-button")
    assert tabs == "LatestResults SubmitSample SubmitMany ResultsInRange Summary ByLabel WatchResults OneSample"


def test_every_example_runs_unchanged(stack: Stack, graphiql: GraphiQL) -> None:
    """Each tab returns data with its default variables, also if all results are of today, as after `make run`.

    The problems of the invalid sample are displayed.
    """
    key = stack.new_key("examples-in-graphiql")
    example = {"time_stamp": datetime.now(UTC).isoformat(), "data": [1], "labels": {"source": "example"}}
    stack.wait_for(stack.submit(example, key=key)["id"], key=key)
    graphiql.open(stack, key)
    expected = {
        "SubmitMany": "expected a UTC offset",
        "LatestResults": '"computedAt": "20',
        "ResultsInRange": '"totalCount": [1-9]',
        "Summary": '"values": [1-9]',
        "ByLabel": '"value": "example"',
    }

    for name, pattern in expected.items():
        graphiql.show_tab(name)
        graphiql.play()
        graphiql.wait_for_response(pattern)
        assert '"errors"' not in graphiql.response()


def test_explorer_adds_fields_and_history_lists_operations(stack: Stack, graphiql: GraphiQL) -> None:
    """Both are plugins of GraphiQL."""
    graphiql.open(stack)
    graphiql.show_tab("SubmitSample")
    graphiql.play()
    graphiql.wait_for_response('"state": "PENDING"')

    graphiql.press("[aria-label='Show GraphiQL Explorer']")
    graphiql.press("[data-field-name='sha256']")
    graphiql.wait_for(lambda: "sha256" in (graphiql.text(".graphiql-query-editor .view-lines") or ""))

    graphiql.press("[aria-label='Show History']")
    graphiql.wait_for(lambda: "SubmitSample" in (graphiql.text(".graphiql-history") or ""))


def test_link_opens_its_query_in_a_new_tab(stack: Stack, graphiql: GraphiQL) -> None:
    """Stored tabs remain. The link is removed from the address, and a reload keeps the tab."""
    graphiql.open(stack)
    graphiql.go_to(f"{stack.url}/graphql#query=query+Linked+%7B+__typename+%7D&variables=%7B%7D")
    graphiql.wait_for(lambda: graphiql.address == f"{stack.url}/graphql")
    graphiql.wait_for(lambda: "Linked" in (graphiql.text(".graphiql-tab-button") or ""))

    graphiql.open(stack)
    graphiql.play()

    graphiql.wait_for_response('"__typename": "Query"')
    assert (graphiql.text(".graphiql-tab-button") or "").split()[0] == "LatestResults"
