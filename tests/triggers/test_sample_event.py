"""A sample event is parsed from the headers and bytes that Eventarc sends."""

from typing import Any

import pytest
from cloudevents.conversion import from_http
from cloudevents.http.event import CloudEvent

from storage.documents import document_paths
from storage.documents.chunks import MAX_INLINE_BYTES
from storage.firestore import encoding
from tests.received import received_sample
from tests.triggers.machine import DATABASE, event_body, event_headers
from triggers.sample_event import SampleEvent, parse

SAMPLE = received_sample(
    b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1.5]}', submitter="local", idempotency_key="one"
)
PATH = document_paths.sample("local", SAMPLE.header.id)


def new_event(body: bytes, headers: dict[str, str] | None = None) -> CloudEvent:
    """Return the event of an HTTP request."""
    return from_http(CloudEvent, headers or event_headers(PATH), body)


def new_document(path: str = PATH) -> Any:
    """Return a document with the header of the sample."""
    return encoding.to_write(f"{DATABASE}/documents/{path}", SAMPLE.header.fields()).update


def test_an_event_contains_the_header() -> None:
    """The function does not read the header from Firestore then."""
    event = parse(new_event(event_body(new_document())))

    assert event is not None
    assert event.header is not None
    assert (event.database, event.submitter, event.sample_id) == (DATABASE, "local", SAMPLE.header.id)
    assert encoding.from_document(event.header)["sha256"] == SAMPLE.header.sha256
    assert not event.is_deletion


def test_an_update_contains_the_header_after_the_write() -> None:
    """Its body has the document before and after the write."""
    old, new = new_document(), new_document()
    old.fields["raw"].string_value = "old"

    event = parse(new_event(event_body(new, old)))

    assert event is not None
    assert event.header is not None
    assert event.header.fields["raw"].string_value == SAMPLE.raw.decode()


def test_the_event_of_a_change_is_small_enough_for_eventarc() -> None:
    """Eventarc drops events over 512 KB, so the sample would not be recomputed. Other fields need space too."""
    opening, labels = (
        b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [',
        {f"name{number}": "v" * 64 for number in range(4)},
    )
    raw = opening + b"1," * ((MAX_INLINE_BYTES - len(opening) - 3) // 2) + b"1]}"
    sample = received_sample(raw, submitter="local", default_labels=labels)
    assert not sample.header.chunks
    document = encoding.to_write(f"{DATABASE}/documents/{PATH}", sample.header.fields()).update

    assert len(event_body(document, document)) < 505_000


@pytest.mark.parametrize(
    ("body", "kind"),
    [(event_body(old_value=new_document()), "written"), (b"", "deleted"), (b"", "deleted.withAuthContext")],
    ids=["by its old value", "by its type", "by its type with auth context"],
)
def test_a_deletion_differs_from_a_missing_body(body: bytes, kind: str) -> None:
    """A deleted sample must not be read."""
    assert parse(new_event(body, event_headers(PATH, kind))) == SampleEvent(
        DATABASE, "local", SAMPLE.header.id, is_deletion=True
    )


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", "application/protobuf"), (b"\n\xff", "application/protobuf"), (b'{"value": {}}', "application/json")],
    ids=["missing", "truncated", "JSON"],
)
def test_an_event_without_a_readable_body_names_its_sample(body: bytes, content_type: str) -> None:
    """The function reads the document by that name, so the event is not lost."""
    event = parse(new_event(body, event_headers(PATH, "written", content_type)))

    assert event == SampleEvent(DATABASE, "local", SAMPLE.header.id)


@pytest.mark.parametrize(
    "path",
    [
        document_paths.result("local", SAMPLE.header.id),
        document_paths.chunk("local", SAMPLE.header.id, SAMPLE.header.sha256, 0),
        document_paths.api_key("00"),
        "",
        "submitters/local/samples",
    ],
)
@pytest.mark.parametrize("with_body", [True, False])
def test_events_of_other_documents_are_ignored_with_a_warning(
    path: str, with_body: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The log shows a trigger with a path pattern that matches too much."""
    body = event_body(new_document(path)) if with_body else b""

    assert parse(new_event(body, event_headers(path))) is None
    assert len(caplog.records) == 1
    assert "is not a sample" in caplog.text


def test_an_event_without_a_document_name_is_ignored() -> None:
    """It does not say which document was written."""
    headers = event_headers(PATH)
    del headers["ce-document"]

    assert parse(new_event(b"", headers)) is None


def test_an_event_of_another_service_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """Its body is not parsed."""
    headers = event_headers(PATH) | {"ce-type": "google.cloud.storage.object.v1.finalized"}

    assert parse(new_event(event_body(new_document()), headers)) is None
    assert "is not a Firestore event" in caplog.text
