"""What a CloudEvent says of a sample, from the very headers and bytes that Eventarc sends."""

from typing import Any

import pytest
from cloudevents.conversion import from_http
from cloudevents.http.event import CloudEvent

from storage.documents import Sample, document_paths
from storage.firestore import encoding
from tests.triggers.machine import DATABASE, event_body, event_headers
from triggers.events import SampleWritten, read

SAMPLE = Sample.receive(
    b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1.5]}', submitter="local", idempotency_key="one"
)
PATH = document_paths.sample("local", SAMPLE.header.id)


def _event(body: bytes, headers: dict[str, str] | None = None) -> CloudEvent:
    return from_http(CloudEvent, headers or event_headers(PATH), body)


def _document(path: str = PATH) -> Any:
    return encoding.to_write(f"{DATABASE}/documents/{path}", SAMPLE.header.fields()).update


def test_a_written_sample_comes_with_its_header() -> None:
    """Then nothing has to be read."""
    written = read(_event(event_body(_document())))

    assert written is not None
    assert (written.database, written.submitter, written.sample_id) == (DATABASE, "local", SAMPLE.header.id)
    assert encoding.from_document(written.document)["sha256"] == SAMPLE.header.sha256
    assert not written.deleted


def test_of_an_update_the_document_after_it_counts() -> None:
    """The event of an update carries both."""
    old, new = _document(), _document()
    old.fields["raw"].string_value = "old"

    written = read(_event(event_body(new, old)))

    assert written is not None
    assert written.document.fields["raw"].string_value == SAMPLE.raw.decode()


@pytest.mark.parametrize(
    ("body", "kind"),
    [(event_body(old_value=_document()), "written"), (b"", "deleted"), (b"", "deleted.withAuthContext")],
    ids=["by its old value", "by the type", "by the type with its context"],
)
def test_a_deletion_is_told_from_a_missing_body(body: bytes, kind: str) -> None:
    """A deleted sample must not be read: nothing is to be done."""
    assert read(_event(body, event_headers(PATH, kind))) == SampleWritten(
        DATABASE, "local", SAMPLE.header.id, deleted=True
    )


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", "application/protobuf"), (b"\n\xff", "application/protobuf"), (b'{"value": {}}', "application/json")],
    ids=["none", "torn", "JSON"],
)
def test_without_a_body_that_can_be_read_the_name_is_enough(body: bytes, content_type: str) -> None:
    """The document is then read by its name, so the event is not lost."""
    written = read(_event(body, event_headers(PATH, "written", content_type)))

    assert written == SampleWritten(DATABASE, "local", SAMPLE.header.id)


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
def test_other_documents_are_ignored_with_a_line(path: str, with_body: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A trigger that was registered too widely must not make work, nor be silent about it."""
    body = event_body(_document(path)) if with_body else b""

    assert read(_event(body, event_headers(path))) is None
    assert len(caplog.records) == 1
    assert "is no sample" in caplog.text


def test_an_event_without_a_document_is_ignored() -> None:
    """Nobody could say which document is to be read."""
    headers = event_headers(PATH)
    del headers["ce-document"]

    assert read(_event(b"", headers)) is None


def test_an_event_of_another_service_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever its body holds."""
    headers = event_headers(PATH) | {"ce-type": "google.cloud.storage.object.v1.finalized"}

    assert read(_event(event_body(_document()), headers)) is None
    assert "is no Firestore event" in caplog.text
