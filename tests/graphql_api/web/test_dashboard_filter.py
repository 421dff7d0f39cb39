"""The filter of the dashboard by labels and state, which the server applies, in a real browser."""

from functools import partial
from urllib.parse import parse_qsl, urlsplit

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import make_failed, submit_lines
from tests.stack import Stack, eventually

TILES = ("pending", "computed", "failed", "rejected")


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Return a key whose submitter has samples of two sites. More samples of one site exist than a page loads."""
    key = stack.new_key("filter-on-page")
    labels = {"bern": 310, "zurich": 3}
    lines = [
        {"time_stamp": "2026-11-24T01:02:03Z", "data": [value], "labels": {"site": site, "unit": "V"}}
        for site, count in reversed(labels.items())
        for value in range(count)
    ]
    lines += [{"data": [1], "labels": {"site": site}} for site in labels]
    assert len(submit_lines(stack, key, lines)) == len(lines)
    count = "{ results(first: 0) { totalCount } }"
    eventually(lambda: stack.graphql(count, key=key)["results"]["totalCount"] == 313, lambda: stack.log)
    return key


def tiles(dashboard: Dashboard) -> list[str | None]:
    """Return the displayed numbers of samples by state."""
    return [dashboard.text(f".count.{name} .value") for name in TILES]


def choose(dashboard: Dashboard, name: str, value: str) -> None:
    """Select a value of a field of the filter."""
    dashboard.wait_for(lambda: dashboard.text(f"select[name='{name}']"))
    dashboard.write(f"select[name='{name}']", value)


def test_labels_narrow_everything_that_is_displayed(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The server filters: the page finds results that it had not loaded. New results of other labels do not appear."""
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: tiles(dashboard) == ["0", "313", "0", "2"])

    choose(dashboard, "label.site", "zurich")

    dashboard.wait_for(lambda: len(dashboard.results()) == 3)
    dashboard.wait_for(lambda: tiles(dashboard) == ["0", "3", "0", "1"])
    dashboard.wait_for(lambda: (dashboard.text(".problems li") or "").count("$.time_stamp") == 1)
    assert dict(parse_qsl(urlsplit(dashboard.address).query)) == {"label.site": "zurich"}
    sample = {"time_stamp": "2026-11-24T01:02:04Z", "data": [7]}
    other, new = (stack.submit(sample | {"labels": {"site": site}}, key=key)["id"] for site in ("bern", "zurich"))
    dashboard.wait_for(lambda: new in dashboard.results())
    dashboard.wait_for(lambda: tiles(dashboard) == ["0", "4", "0", "1"])
    stack.wait_for(other, key=key)
    assert other not in dashboard.results()
    dashboard.press(".downloads button", "CSV")
    dashboard.wait_for(lambda: dashboard.statuses("/results?label.site=zurich&format=csv") == [200])


def test_a_link_with_labels_and_state_displays_the_same(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """Samples without a result are in the table with their problem. A click on the tile displays results again."""
    dashboard.open(stack, "/?label.site=zurich&label.unit=V&mean.lte=1&state=REJECTED", key=key)
    dashboard.wait_for(lambda: dashboard.text("#samples-title") == "Rejected samples")
    dashboard.wait_for(lambda: tiles(dashboard)[3] == "0")
    dashboard.wait_for(lambda: dashboard.text(".results .empty") == "No sample matches the filter.")

    choose(dashboard, "label.unit", "any")

    dashboard.wait_for(lambda: "site zurich" in (dashboard.text(".results tbody tr") or ""))
    assert "$.time_stamp" in (dashboard.text(".results tbody tr") or "")
    assert dashboard.text(".plot") is None
    dashboard.wait_for(lambda: dashboard.text(".sample .state") == "Rejected")
    dashboard.press(".count.rejected button")
    dashboard.wait_for(lambda: len(dashboard.results()) == 2)
    dashboard.wait_for(lambda: tiles(dashboard)[1] == "2")
    assert dict(parse_qsl(urlsplit(dashboard.address).query)) == {"label.site": "zurich", "mean.lte": "1"}


def test_a_problem_before_thousands_of_samples_is_listed(stack: Stack, dashboard: Dashboard) -> None:
    """The server reads the result of each sample to find the FAILED ones, and 2,000 of them for each response."""
    key = stack.new_key("old-problem-on-page")
    good = {"time_stamp": "2026-11-24T01:02:03Z", "data": [1]}
    [failed] = submit_lines(stack, key, [good])
    make_failed(stack, key, "old-problem-on-page", failed)
    submit_lines(stack, key, [good] * 2_100)

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: failed[:8] in (dashboard.text(".problems li") or ""))
    dashboard.press(".count.failed button")
    dashboard.wait_for(lambda: dashboard.results() == [failed])


def test_the_page_never_says_that_there_are_no_problems_if_it_counts_some(
    stack: Stack, dashboard: Dashboard, key: str
) -> None:
    """If the newest samples contain none, the page says so, and the user can search further."""
    page = {"edges": [], "pageInfo": {"hasNextPage": True, "endCursor": None}}
    dashboard.replace_responses("query Samples", {"data": {"samples": page}})
    dashboard.open(stack, "/?label.site=bern", key=key)
    text = "1 rejected or failed sample is not among the newest samples. Search older samples"
    dashboard.wait_for(lambda: dashboard.text(".problems .empty") == text)

    dashboard.press(".problems button", "Search older samples")
    dashboard.wait_for(lambda: dashboard.text(".results .empty") == "None of the newest samples matches the filter.")
    dashboard.wait_for(lambda: dashboard.run("return document.querySelector('.results .more:enabled') !== null"))
    # In one step: the page also updates its list by itself, and then no longer has this button.
    dashboard.run("window.isReplaced = false; document.querySelector('.results .more').click()")

    dashboard.wait_for(lambda: "$.time_stamp" in (dashboard.text(".results tbody tr") or ""))
    assert dashboard.text(".results .more") is None


def test_the_server_orders_the_table(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """Results that the page had not loaded are in the order too. New results take their place in it."""
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == 25)

    dashboard.press(".results thead button", "Mean")
    dashboard.wait_for(lambda: first_means(dashboard)[:2] == ["309", "308"])
    submit_lines(stack, key, [{"time_stamp": "2026-11-24T01:02:03Z", "data": [1_000], "labels": {"site": "basel"}}])
    dashboard.wait_for(lambda: first_means(dashboard)[:2] == ["1,000", "309"])
    dashboard.press(".results thead button", "Mean")
    dashboard.wait_for(lambda: first_means(dashboard)[:2] == ["0", "0"])
    assert dashboard.attributes("th[aria-sort]", "aria-sort") == ["ascending"]

    choose(dashboard, "label.site", "basel")
    dashboard.wait_for(lambda: first_means(dashboard) == ["1,000"])
    assert dashboard.attributes(".results thead button[disabled]", "title")[0].startswith("If the filter has labels")


def test_new_results_with_labels_take_their_place_in_the_order_of_time_stamps(
    stack: Stack, dashboard: Dashboard
) -> None:
    """The heading says that the table has this order. A result of an older page is displayed once, later."""
    key = stack.new_key("order-with-labels")
    labels = {"site": "bern"}
    times = [f"2026-11-24T01:{number // 60:02d}:{number % 60:02d}Z" for number in range(330)]
    submit_lines(stack, key, [{"time_stamp": time, "data": [1], "labels": labels} for time in times])
    dashboard.open(stack, "/?label.site=bern", key=key)
    dashboard.wait_for(lambda: tiles(dashboard)[:2] == ["0", "330"])
    dashboard.go_to(dashboard.address)
    dashboard.wait_until_live()

    new = ["2026-11-24T01:05:28.5Z", "2026-11-24T01:00:05.5Z", "2026-11-24T02:00:00Z"]
    submit_lines(stack, key, [{"time_stamp": time, "data": [1], "labels": labels} for time in new])

    dashboard.wait_for(lambda: dashboard.arrived() == 3)
    shown = (dashboard.text(".results tbody th") or "").replace("2026-11-24 ", "").split()
    assert shown[:4] == ["02:00:00", "01:05:29", "01:05:28", "01:05:28"]
    assert dashboard.attributes("th[aria-sort]", "aria-sort") == ["descending"]
    dashboard.wait_for(lambda: "of 333" in (dashboard.text(".results .hint") or ""))
    more = "const more = document.querySelector('.results .more'); more?.click(); return more === null"
    dashboard.wait_for(lambda: dashboard.run(more))
    titles = dashboard.attributes(".results tbody th button", "title")
    assert len(set(dashboard.results())) == len(titles) == 333
    assert titles == sorted(titles, reverse=True)


def test_columns_are_selected(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The browser keeps the selection."""
    dashboard.open(stack, key=key)
    dashboard.press(".menu summary")

    dashboard.press(".menu label", "Median")
    dashboard.press(".menu label", "Minimum")

    columns = "Time stamp (UTC) Mean Std dev Median Maximum Values Labels Computed ↓"
    dashboard.wait_for(lambda: dashboard.text(".results thead") == columns)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".results thead") == columns)
    assert "site bern, unit V" in (dashboard.text(".results tbody tr") or "")


def test_an_incomplete_time_does_not_disable_the_filter(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The field is marked, and the other fields apply. A click on Clear empties it."""
    dashboard.open(stack, "/?label.site=zurich", key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) >= 3)

    dashboard.write("[name='timestamp.gte']", "11242026")
    dashboard.write("[name='mean.lte']", "0")

    dashboard.wait_for(lambda: len(dashboard.results()) == 1)
    invalid = ".filter input:invalid"
    assert dashboard.attributes(invalid, "name") == ["timestamp.gte"]
    dashboard.press(".filter button[type=reset]")
    dashboard.wait_for(lambda: dashboard.attributes(invalid, "name") == [])
    dashboard.wait_for(lambda: dashboard.address == f"{stack.url}/")


def test_a_time_can_be_pasted(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """It has the form that the table displays. Other texts are ignored."""
    dashboard.open(stack, key=key)
    for text in ("2026-11-24 01:02:03", "5"):
        dashboard.write(".find input", f"{text}{Keys.CONTROL}ax")

        dashboard.write("[name='timestamp.gte']", f"{Keys.CONTROL}v")

        dashboard.wait_for(lambda: dashboard.address.endswith("/?timestamp.gte=2026-11-24T01%3A02%3A03Z"))
    dashboard.wait_for(dashboard.results)


def test_a_link_in_another_notation_fills_the_fields(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """A time without an offset is in UTC for users in all time zones. Bounds that no result can have are ignored."""
    dashboard.command("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
    link = (
        "/?timestamp.gte=2026-11-24T01:02:02.5&mean.lte=0x2&count.gte=-5&timestamp.lt=%2B012026-01-01&label.site=bern"
    )
    dashboard.open(stack, link, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == 3)

    dashboard.write("[name='mean.gte']", "1")

    dashboard.wait_for(lambda: len(dashboard.results()) == 2)
    assert dict(parse_qsl(urlsplit(dashboard.address).query)) == {
        "timestamp.gte": "2026-11-24T01:02:02.5Z",
        "mean.gte": "1",
        "mean.lte": "2",
        "label.site": "bern",
    }


def first_means(dashboard: Dashboard) -> list[str]:
    """Return the displayed means, from the first row on."""
    return (dashboard.text(".results tbody td:nth-child(2)") or "").split()


def test_an_error_disappears_when_the_server_responds_again(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The page reads ordered rows again by itself, although no result arrives. A download is repeated by the user."""
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == 25)
    dashboard.set_offline(True)
    dashboard.press(".results thead button", "Mean")
    dashboard.wait_for(lambda: dashboard.text("[role=alert]") == "The server does not respond.")

    dashboard.set_offline(False)

    dashboard.wait_for(lambda: dashboard.text("[role=alert]") is None)
    assert "309" in first_means(dashboard)[:2]
    dashboard.set_offline(True)
    dashboard.press(".downloads button", "CSV")
    dashboard.wait_for(lambda: dashboard.text("[role=alert]") == "The server does not respond.")
    dashboard.set_offline(False)
    dashboard.press(".downloads button", "CSV")
    dashboard.wait_for(lambda: dashboard.text("[role=alert]") is None)


def test_the_buttons_of_the_browser_undo_and_repeat_a_change_of_the_filter(
    stack: Stack, dashboard: Dashboard, key: str, driver: Chrome
) -> None:
    """Typing into a field counts as one change."""
    dashboard.open(stack, "/?label.site=zurich", key=key)
    dashboard.wait_for(lambda: dashboard.text(".results tbody tr"))
    dashboard.press(".count.rejected button")
    dashboard.wait_for(lambda: dashboard.text("#samples-title"))
    dashboard.press(".count.rejected button")

    def is_in_address(value: str) -> bool:
        return f"mean.gte={value}&" in dashboard.address

    for digit, value in (("1", "1"), ("2", "12")):
        dashboard.write("[name='mean.gte']", digit)
        dashboard.wait_for(partial(is_in_address, value))

    driver.back()
    dashboard.wait_for(lambda: urlsplit(dashboard.address).query == "label.site=zurich")
    dashboard.wait_for(
        lambda: dashboard.run("return document.querySelector(arguments[0]).value", "[name='mean.gte']") == ""
    )
    driver.back()
    dashboard.wait_for(lambda: dashboard.text("#samples-title") == "Rejected samples")
    driver.forward()

    dashboard.wait_for(lambda: dashboard.text("#results-title"))
    assert dict(parse_qsl(urlsplit(dashboard.address).query)) == {"label.site": "zurich"}


def test_a_filter_that_the_server_refuses_is_reported(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The page does not display that it loads results. A number that no count can have is ignored."""
    dashboard.sign_in(stack, key)

    dashboard.go_to(f"{stack.url}/?label.site={'x' * 65}&count.gte=2147483648")

    dashboard.wait_for(lambda: "Expected at most 64 characters" in (dashboard.text("[role=alert]") or ""))
    assert dashboard.text(".results .empty") == "The results are not loaded."
    dashboard.open(stack, "/?count.gte=2147483648", key=key)
    dashboard.wait_for(lambda: dashboard.text(".results tbody tr"))
    dashboard.write("[name='count.gte']", "2147483648")
    assert not dashboard.run("return document.querySelector(arguments[0]).validity.valid", "[name='count.gte']")
