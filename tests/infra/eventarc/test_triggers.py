"""Validation of triggers, and pending events of a trigger that changes."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.eventarc import trigger
from infra.embedded.eventarc.fault_injection import FaultInjection
from infra.embedded.eventarc.push import Push
from infra.embedded.eventarc.trigger import InvalidTrigger, Trigger
from infra.embedded.firestore.archive import import_lines
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.storage.versions import Change
from tests.infra.eventarc.machine import WRITTEN, Firestore, Function, until

VALID = {
    "name": "t",
    "event_type": "google.cloud.firestore.document.v1.created",
    "document": "users/{user}",
    "url": "http://127.0.0.1:9000/",
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "with space"}, "name"),
        ({"event_type": "google.cloud.firestore.document.v1.removed"}, "created, updated, deleted, written"),
        ({"document": "users"}, "collection"),
        ({"url": "ftp://somewhere/"}, "HTTP"),
        ({"url": "http://somewhere:99999/"}, "HTTP"),
        ({"url": f"http://{'a' * 64}.example/"}, "HTTP"),
        ({"url": "http://zürich/"}, "ASCII"),
        ({"location": "zürich"}, "location"),
        ({"location": "zurich\n"}, "location"),
        ({"concurrency": 0}, "concurrency"),
        ({"patience": 1}, "patience"),
        ({"failed_attempts_document": "attempts/{team}"}, "names of the path pattern"),
        ({"failed_attempts_document": "attempts/{"}, "names of the path pattern"),
        ({"failed_attempts_document": "users/{user}/attempts"}, "path of a document"),
        ({"failed_attempts_document": "users/{user}"}, "expected a document that the trigger does not select"),
        ({"fault_injection": {"duplicate_probability": 1.5}}, "duplicate_probability"),
    ],
)
def test_an_invalid_trigger_is_rejected(change: dict[str, object], reason: str) -> None:
    """The message names the invalid option."""
    with pytest.raises(InvalidTrigger, match=reason):
        trigger.read([VALID | change])


def test_two_triggers_of_one_name_are_rejected() -> None:
    """They would share one cursor."""
    with pytest.raises(InvalidTrigger, match="two triggers"):
        trigger.read([VALID, VALID])


def test_pauses_double_up_to_a_maximum_and_jitter_shortens_them() -> None:
    """Jitter keeps events that failed together from being retried together."""
    [default] = trigger.read([VALID])

    pauses = [default.backoff.seconds(attempts, 0.0) for attempts in (1, 2, 3, 9, 10, 1000)]

    assert pauses == [0.1, 0.2, 0.4, 25.6, 30.0, 30.0]
    assert default.backoff.seconds(1, 1.0) == 0.05


def test_the_eventarc_profile_has_the_documented_values() -> None:
    """10 to 600 seconds between attempts, 10 seconds to acknowledge, 24 hours of retention."""
    [documented] = trigger.read([VALID | {"profile": "eventarc"}])

    backoff = documented.backoff
    assert (backoff.min_seconds, backoff.max_seconds, documented.deadline_seconds) == (10.0, 600.0, 10.0)
    assert documented.retention_seconds == 86_400


async def test_triggers_after_the_first_start_get_no_imported_documents(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """The triggers of the first start get them. A trigger that is added later starts with later writes."""
    document = {"name": "projects/p/databases/(default)/documents/samples/imported", "fields": {}}
    await import_lines(io.StringIO(json.dumps(document)), firestore.path, Definitions())
    await firestore.start(on_written)
    await until(lambda: function.documents == ["samples/imported"])
    await firestore.stop()

    await firestore.start(on_written | {"name": "added"})
    await firestore.write("samples/written")
    await until(lambda: len(function.documents) > 1)

    assert function.documents == ["samples/imported", "samples/written"]


@pytest.mark.parametrize(
    "other", [{"document": "results/{result}"}, {"event_type": "google.cloud.firestore.document.v1.deleted"}]
)
async def test_a_failed_event_is_not_sent_when_its_trigger_selects_other_events_after_a_restart(
    firestore: Firestore, function: Function, on_written: dict[str, Any], other: dict[str, Any]
) -> None:
    """The function would receive an event of the wrong kind or collection."""
    function.respond_with(500)
    await firestore.start(on_written)
    await firestore.write("samples/a")
    await firestore.until_rows("eventarc_undelivered WHERE attempts > 0", "sequence", [(1,)])
    await firestore.stop()
    function.events.clear()

    await firestore.start(on_written | other)
    await firestore.until_rows(
        "eventarc_undelivered WHERE problem LIKE '%changed%'", "sequence, state", [(1, "retrying")]
    )
    await firestore.stop()
    unwanted = function.documents.copy()
    function.respond = function.acknowledge
    await firestore.start(on_written)
    await until(lambda: bool(function.events))

    assert (unwanted, function.documents) == ([], ["samples/a"])


def test_the_readme_lists_every_option_of_a_trigger() -> None:
    """It also lists every option of fault injection."""
    readme = Path("infra/embedded/README.md").read_text()
    options = {*Trigger.__struct_fields__, *FaultInjection.__struct_fields__}

    assert {option for option in options if f"`{option}`" not in readme} == set()


def test_a_trigger_whose_token_is_not_set_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function would refuse all events."""
    monkeypatch.delenv("EVENT_TOKEN", raising=False)

    with pytest.raises(InvalidTrigger, match="environment variable EVENT_TOKEN"):
        trigger.read([VALID | {"token_variable": "EVENT_TOKEN"}])


async def test_every_event_carries_the_token_of_its_trigger(
    firestore: Firestore, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It proves to the function who sends the event."""
    monkeypatch.setenv("EVENT_TOKEN", "a-token")
    await firestore.start({"name": "t", "event_type": WRITTEN, "url": function.url, "token_variable": "EVENT_TOKEN"})

    await firestore.write("users/marie")
    await until(lambda: len(function.events) == 1)

    assert function.events[0].headers["authorization"] == "Bearer a-token"


async def test_a_notice_says_why_an_event_was_given_up(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the attributes of the event and no body."""
    monkeypatch.setenv("EVENT_TOKEN", "a-token")
    [described] = trigger.read([VALID | {"url": function.url, "token_variable": "EVENT_TOKEN"}])
    change = Change(7, 1_556_704_800_123_456, "projects/p/databases/(default)/documents/users/marie", None, b"")
    push = Push(described)

    assert await push.give_up(change, 12, 'no response: "reset"\r\n') is None
    push.client.close()

    [notice] = function.events
    assert notice.body == b""
    assert notice.document == "users/marie"
    assert notice.headers["authorization"] == "Bearer a-token"
    assert {name: notice.headers[f"ce-{name}"] for name in ("givenup", "attempts", "problem")} == {
        "givenup": "true",
        "attempts": "12",
        "problem": "no%20response:%20%22reset%22%0D%0A",
    }
