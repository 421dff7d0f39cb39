"""The displayed sample of the dashboard: its timeline and its deletion, in a real browser."""

import json
import re
from typing import Any

import httpx
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from tests.graphql_api.web.dashboard import Dashboard
from tests.stack import Stack

GOOD = {"time_stamp": "2019-05-01T06:00:00-04:00", "data": [0.5, 1.5, 4.0], "labels": {"site": "zurich"}}
BAD = {"time_stamp": "2019-05-01T06:00:00", "data": [0.5, True]}
CORRECT = "mutation ($sample: RawSample!, $id: ID!) { submit(sample: $sample, supersedes: $id) { id } }"
DELETE = 'mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "") { id } }'
TOMBSTONE = "query ($id: ID!) { deletedSample(id: $id) { reason } }"


def test_the_timeline_of_the_displayed_sample_is_shown(stack: Stack, dashboard: Dashboard) -> None:
    """Oldest event first. A problem that is listed above is not repeated. Labels are shown too."""
    key = stack.new_key("timeline-on-page")
    computed, rejected = (stack.submit(sample, key=key)["id"] for sample in (GOOD, BAD))
    stack.wait_for(computed, key=key)

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: dashboard.text(".timeline strong") == "Stored Computed")
    entries = stack.graphql(f'{{ sample(id: "{computed}") {{ timeline {{ at }} }} }}', key=key)["sample"]["timeline"]
    assert dashboard.attributes(".timeline time", "datetime") == [entry["at"] for entry in entries]
    assert "site zurich" in (dashboard.text(".sample .facts") or "")
    dashboard.press(".problems button", rejected[:8])
    dashboard.wait_for(lambda: dashboard.text(".timeline strong") == "Stored as rejected")
    assert dashboard.text(".timeline .problem") is None
    assert "expected a number, got a boolean" in (dashboard.text(".sample .problem-list") or "")


def test_a_sample_is_deleted_after_confirmation(stack: Stack, dashboard: Dashboard) -> None:
    """Until then it can be cancelled. The sample leaves the table, the numbers and the selection."""
    key = stack.new_key("deleted-on-page", "submit,read,admin")
    kept, wrong = (stack.submit(GOOD | {"data": [value]}, key=key)["id"] for value in (1, 2))
    for sample_id in (kept, wrong):
        stack.wait_for(sample_id, key=key)
    dashboard.open(stack, key=key)
    dashboard.press(f"tr[data-id='{wrong}'] button")
    dashboard.wait_for(lambda: dashboard.attributes(".sample code.hint", "title") == [wrong])
    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "2")

    dashboard.press(".sample .actions button", "Delete")
    dashboard.press("dialog button", "Cancel")
    dashboard.wait_for(lambda: dashboard.text("dialog") is None)
    assert stack.sample(wrong, key=key)["state"] == "COMPUTED"

    dashboard.press(".sample .actions button", "Delete")
    dashboard.write("dialog input", "wrong sensor")
    dashboard.press("dialog button[type=submit]")

    dashboard.wait_for(lambda: dashboard.results() == [kept])
    assert stack.graphql(TOMBSTONE, {"id": wrong}, key=key)["deletedSample"] == {"reason": "wrong sensor"}
    dashboard.wait_for(lambda: dashboard.attributes(".sample code.hint", "title") == [kept])
    dashboard.wait_for(lambda: "newest 1 of 1" in (dashboard.text(".results .card-head") or ""))
    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "1")


def test_the_sample_that_was_displayed_is_deleted_not_the_next_one(stack: Stack, dashboard: Dashboard) -> None:
    """A result that arrives while the question is open does not change what the question is about."""
    key = stack.new_key("newest-on-page", "submit,read,admin")
    wrong = stack.submit(GOOD, key=key)["id"]
    stack.wait_for(wrong, key=key)
    dashboard.open(stack, key=key)
    dashboard.press(".sample .actions button", "Delete")
    arrived = stack.submit(GOOD | {"data": [3]}, key=key)["id"]
    dashboard.wait_for(lambda: dashboard.results() == [arrived, wrong])

    dashboard.press("dialog button[type=submit]")

    dashboard.wait_for(lambda: dashboard.results() == [arrived])
    assert stack.sample(arrived, key=key)["state"] == "COMPUTED"


def test_a_question_ends_if_the_button_back_selects_another_sample(
    stack: Stack, dashboard: Dashboard, driver: Chrome
) -> None:
    """Otherwise the answer would delete that sample, or replace it by the text of another one."""
    key = stack.new_key("back-in-dialog", "submit,read,admin")
    ids = [stack.submit(GOOD | {"data": [value]}, key=key)["id"] for value in (1, 2)]
    for sample_id in ids:
        stack.wait_for(sample_id, key=key)
    for action in ("Correct", "Delete"):
        dashboard.open(stack, f"/?sample={ids[0]}", key=key)
        dashboard.write("[name='mean.gte']", "1")
        dashboard.wait_for(lambda: "mean.gte=1" in dashboard.address)
        dashboard.press(f"tr[data-id='{ids[1]}'] button")
        dashboard.wait_for(lambda: dashboard.attributes(".sample code.hint", "title") == [ids[1]])
        dashboard.press(".sample .actions button", action)
        dashboard.wait_for(lambda: dashboard.text("dialog"))

        driver.back()

        dashboard.wait_for(lambda: dashboard.attributes(".sample code.hint", "title") == [ids[0]])
        assert dashboard.text("dialog") is None


def test_a_sample_that_is_deleted_elsewhere_meanwhile_needs_no_answer(stack: Stack, dashboard: Dashboard) -> None:
    """The question disappears with the result of the sample."""
    key = stack.new_key("deleted-meanwhile", "submit,read,admin")
    gone = stack.submit(GOOD, key=key)["id"]
    stack.wait_for(gone, key=key)
    dashboard.open(stack, key=key)
    dashboard.press(".sample .actions button", "Delete")
    dashboard.wait_for(lambda: dashboard.text("dialog"))

    stack.graphql(DELETE, {"ids": [gone]}, key=key)

    gone_text = r"This sample was deleted at \S+ \S+ UTC\. No reason was given\."
    dashboard.wait_for(lambda: re.fullmatch(gone_text, dashboard.text(".sample .empty") or ""))
    assert dashboard.text("dialog") is None
    assert dashboard.results() == []


def test_samples_that_are_deleted_or_corrected_elsewhere_leave_the_page(stack: Stack, dashboard: Dashboard) -> None:
    """The table and the total follow. The correction takes the place of the corrected sample."""
    key = stack.new_key("removed-on-page", "submit,read,admin")
    kept, wrong, gone = (stack.submit(GOOD | {"data": [value]}, key=key)["id"] for value in (1, 2, 3))
    for sample_id in (kept, wrong, gone):
        stack.wait_for(sample_id, key=key)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == 3)

    stack.graphql(DELETE, {"ids": [gone]}, key=key)
    right = stack.graphql(CORRECT, {"sample": GOOD | {"data": [4]}, "id": wrong}, key=key)["submit"]["id"]

    dashboard.wait_for(lambda: set(dashboard.results()) == {kept, right})
    dashboard.wait_for(lambda: "newest 2 of 2" in (dashboard.text(".results .card-head") or ""))
    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "2")


def test_a_selected_sample_that_the_table_does_not_contain_follows_changes_elsewhere(
    stack: Stack, dashboard: Dashboard
) -> None:
    """The filter selects other samples."""
    key = stack.new_key("unlisted-on-page", "submit,read,admin")
    sample_id = stack.submit(GOOD, key=key)["id"]
    stack.wait_for(sample_id, key=key)
    dashboard.open(stack, f"/?label.site=bern&sample={sample_id}", key=key)
    dashboard.wait_for(lambda: dashboard.text(".sample .state") == "Computed")

    stack.graphql(CORRECT, {"sample": GOOD, "id": sample_id}, key=key)

    dashboard.wait_for(lambda: dashboard.text(".sample .state") == "Superseded")
    stack.graphql(DELETE, {"ids": [sample_id]}, key=key)
    dashboard.wait_for(lambda: "This sample was deleted" in (dashboard.text(".sample .empty") or ""))


def test_a_sample_is_corrected_after_confirmation(stack: Stack, dashboard: Dashboard) -> None:
    """A rejected correction changes nothing. An accepted one is displayed in place of the sample."""
    key = stack.new_key("corrected-by-page")
    wrong = stack.submit(GOOD, key=key)["id"]
    stack.wait_for(wrong, key=key)
    dashboard.open(stack, key=key)
    dashboard.press(".sample .actions button", "Correct")
    dashboard.wait_for(lambda: "4.0" in (dashboard.run("return document.querySelector('textarea').value") or ""))
    assert dashboard.attributes("dialog button[type=submit]", "aria-disabled") == ["true"]

    dashboard.write("textarea", f"{Keys.CONTROL}a{Keys.NULL}{json.dumps(BAD)}")
    dashboard.press("dialog button[type=submit]")
    dashboard.wait_for(lambda: "The new version was rejected" in (dashboard.text("dialog .fault") or ""))
    assert stack.sample(wrong, key=key)["state"] == "COMPUTED"

    dashboard.write("textarea", f"{Keys.CONTROL}a{Keys.NULL}{json.dumps(GOOD | {'data': [7]})}")
    dashboard.press("dialog button[type=submit]")

    dashboard.wait_for(lambda: dashboard.text("dialog") is None)
    dashboard.wait_for(lambda: "Mean 7" in (dashboard.text(".sample .numbers") or ""))
    [right] = dashboard.wait_for(lambda: ids if wrong not in (ids := dashboard.results()) else None)
    assert stack.sample(right, key=key)["result"]["mean"] == 7
    stack.wait_for(wrong, "SUPERSEDED", key=key)


def test_a_rejected_sample_is_corrected_by_another_sample(stack: Stack, dashboard: Dashboard) -> None:
    """The page opens the document as it was submitted. The timeline of the rejected sample names the new sample."""
    key = stack.new_key("rejected-corrected-by-page")
    wrong = stack.submit(BAD, key=key)["id"]
    dashboard.open(stack, f"/?sample={wrong}", key=key)
    dashboard.press(".sample .actions button", "Correct")
    dashboard.wait_for(lambda: "true" in (dashboard.run("return document.querySelector('textarea').value") or ""))
    assert "This sample stays rejected." in (dashboard.text("dialog") or "")

    dashboard.write("textarea", f"{Keys.CONTROL}a{Keys.NULL}{json.dumps(GOOD)}")
    dashboard.press("dialog button[type=submit]")

    [right] = dashboard.wait_for(dashboard.results)
    dashboard.wait_for(lambda: dashboard.attributes(".sample code.hint", "title") == [right])
    dashboard.press(".problems button", wrong[:8])
    dashboard.wait_for(lambda: dashboard.text(".timeline strong") == "Stored as rejected Superseded")
    assert right[:8] in (dashboard.text(".timeline button") or "")


def test_a_correction_keeps_the_labels_of_the_request(stack: Stack, dashboard: Dashboard) -> None:
    """The document does not contain them. A label that the user removes from the document leaves the sample."""
    key = stack.new_key("request-labels-on-page")
    headers = {b"x-api-key": key.encode(), b"x-label-site": "zürich, süd".encode(), b"x-label-serial-number": b"7"}
    sample = GOOD | {"labels": {"unit": "V"}}
    wrong = httpx.post(f"{stack.url}/samples", headers=headers, json=sample).json()["id"]
    stack.wait_for(wrong, key=key)
    dashboard.open(stack, key=key)
    dashboard.press(".sample .actions button", "Correct")
    kept = "Labels that are not in the text, and stay: serial_number 7, site zürich, süd"
    dashboard.wait_for(lambda: dashboard.text("dialog .hint") == kept)

    corrected = {"time_stamp": GOOD["time_stamp"], "data": [7]}
    dashboard.write("textarea", f"{Keys.CONTROL}a{Keys.NULL}{json.dumps(corrected)}")
    dashboard.press("dialog button[type=submit]")

    [right] = dashboard.wait_for(lambda: ids if wrong not in (ids := dashboard.results()) else None)
    labels: Any = stack.graphql(f'{{ sample(id: "{right}") {{ labels {{ name value }} }} }}', key=key)
    assert labels["sample"]["labels"] == [
        {"name": "serial_number", "value": "7"},
        {"name": "site", "value": "zürich, süd"},
    ]


def test_missing_values_and_the_correction_of_a_sample_are_shown(stack: Stack, dashboard: Dashboard) -> None:
    """Beside its statistics, which leave out the missing values."""
    key = stack.new_key("missing-on-page")
    wrong = stack.submit(GOOD | {"data": [1, None, None], "missing": "skip"}, key=key)["id"]
    stack.wait_for(wrong, key=key)
    right = stack.graphql(CORRECT, {"sample": GOOD, "id": wrong}, key=key)["submit"]["id"]
    stack.wait_for(wrong, "SUPERSEDED", key=key)

    dashboard.open(stack, "/?state=SUPERSEDED", key=key)

    facts = f"Missing 2 values, left out of the statistics SHA-256 .* Corrected by (Show sample )?{right[:8]}"
    dashboard.wait_for(lambda: re.search(facts, dashboard.text(".sample .facts") or ""))
    dashboard.press(".sample .facts button")
    dashboard.wait_for(lambda: dashboard.attributes(".sample code.hint", "title") == [right])


def test_the_timeline_of_a_corrected_sample_leads_to_its_correction(stack: Stack, dashboard: Dashboard) -> None:
    """The id of the correction is a button that displays it."""
    key = stack.new_key("superseded-on-page")
    wrong = stack.submit(GOOD, key=key)["id"]
    stack.wait_for(wrong, key=key)
    right = stack.graphql(CORRECT, {"sample": GOOD | {"data": [4]}, "id": wrong}, key=key)["submit"]["id"]
    stack.wait_for(wrong, "SUPERSEDED", key=key)
    stack.wait_for(right, key=key)
    dashboard.open(stack, "/?state=SUPERSEDED", key=key)

    dashboard.wait_for(lambda: dashboard.text(".timeline strong") == "Stored Computed Superseded")
    dashboard.press(".timeline button", right[:8])

    dashboard.wait_for(lambda: dashboard.attributes(".sample code.hint", "title") == [right])
    dashboard.wait_for(lambda: dashboard.text(".timeline strong") == "Stored Computed")


def test_a_sample_is_found_by_its_id(stack: Stack, dashboard: Dashboard) -> None:
    """The whole id is displayed, so that a user can copy it. An unknown id is reported."""
    key = stack.new_key("found-on-page")
    wanted, newest = (stack.submit(GOOD | {"data": [value]}, key=key)["id"] for value in (1, 2))
    for sample_id in (wanted, newest):
        stack.wait_for(sample_id, key=key)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: f"Id {newest}" in (dashboard.text(".sample .facts") or ""))

    dashboard.write(".find input", f"  {wanted}{Keys.ENTER}")

    dashboard.wait_for(lambda: f"Id {wanted}" in (dashboard.text(".sample .facts") or ""))
    for unknown in ("no/such id", wanted[:8]):
        dashboard.write(".find input", f"{unknown}{Keys.ENTER}")
        dashboard.wait_for(lambda: dashboard.text(".sample .empty") == "No sample has this id. It may have expired.")
        dashboard.press(".sample .card-head button", "Show the newest")
        dashboard.wait_for(lambda: f"Id {newest}" in (dashboard.text(".sample .facts") or ""))


def test_only_administrators_can_delete(stack: Stack, dashboard: Dashboard) -> None:
    """The page of a key without the scope has no such button."""
    key = stack.new_key("no-admin-on-page")
    stack.wait_for(stack.submit(GOOD, key=key)["id"], key=key)

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: dashboard.text(".sample .actions") == "Raw JSON GraphiQL Correct")
