"""The shape of an event, decoded with the libraries that functions use."""

import math

from cloudevents.http import from_http
from google.cloud.firestore_v1.types import Document
from google.events.cloud.firestore import DocumentEventData

from infra.embedded.eventarc import cloudevent
from infra.embedded.firestore.storage.storage import Change

NAME = "projects/p/databases/(default)/documents/users/marie"
MICROSECONDS = 1_556_704_800_123_456


def document(**fields: object) -> bytes:
    """A stored document."""
    raw: bytes = Document.serialize(Document(name=NAME, fields=fields))
    return raw


def change(old: bytes | None, new: bytes | None, name: str = NAME) -> Change:
    """A change of this document."""
    return Change(sequence=7, commit_time=MICROSECONDS, name=name, old=old, new=new)


def mask(old: bytes, new: bytes) -> list[str]:
    """The paths that an update names."""
    data = DocumentEventData.deserialize(cloudevent.body(change(old, new), 10_000))
    return list(data.update_mask.field_paths)


def test_the_headers_are_those_of_eventarc() -> None:
    """A CloudEvents library reads them, and no attribute is missing."""
    created = change(None, document())

    event = from_http(cloudevent.headers(created, "written", "local"), cloudevent.body(created, 10_000))

    attributes = dict(event.get_attributes())
    assert attributes.pop("dataschema").startswith("https://github.com/googleapis/google-cloudevents/")
    assert attributes.pop("id") == f"{MICROSECONDS:x}-7-written"
    assert attributes == {
        "specversion": "1.0",
        "type": "google.cloud.firestore.document.v1.written",
        "source": "//firestore.googleapis.com/projects/p/databases/(default)",
        "subject": "documents/users/marie",
        "time": "2019-05-01T10:00:00.123456Z",
        "document": "users/marie",
        "database": "(default)",
        "namespace": "(default)",
        "project": "p",
        "location": "local",
        "datacontenttype": "application/protobuf",
    }


def test_what_a_header_cannot_hold_is_percent_encoded() -> None:
    """As the HTTP binding of CloudEvents has it."""
    name = 'projects/p/databases/(default)/documents/users/Zoë "100%"\r\nx: y'

    headers = cloudevent.headers(change(None, b"", name), "created", "local")

    assert headers["ce-document"] == "users/Zo%C3%AB%20%22100%25%22%0D%0Ax:%20y"


def test_a_created_document_is_the_value_alone() -> None:
    """There is nothing old, and no mask."""
    body = cloudevent.body(change(None, document(age={"integer_value": 7})), 10_000)

    data = DocumentEventData.deserialize(body)
    assert data.value.name == NAME
    assert data.value.fields["age"].integer_value == 7
    assert "old_value" not in data
    assert "update_mask" not in data


def test_a_deleted_document_is_the_old_value_alone() -> None:
    """There is nothing new, and no mask."""
    body = cloudevent.body(change(document(age={"integer_value": 7}), None), 10_000)

    data = DocumentEventData.deserialize(body)
    assert data.old_value.fields["age"].integer_value == 7
    assert "value" not in data
    assert "update_mask" not in data


def test_an_update_names_the_fields_that_changed() -> None:
    """Added, removed and changed ones; inside maps too; those with odd names quoted."""
    old = document(
        same={"string_value": "x"},
        nan={"double_value": math.nan},
        gone={"null_value": None},
        kind={"integer_value": 1},
        map={"map_value": {"fields": {"a": {"integer_value": 1}, "b": {"integer_value": 1}}}},
        filled={"map_value": {}},
    )
    new = document(
        same={"string_value": "x"},
        nan={"double_value": math.nan},
        kind={"double_value": 1},
        map={"map_value": {"fields": {"a": {"integer_value": 1}, "b": {"integer_value": 2}}}},
        filled={"map_value": {"fields": {"x": {"integer_value": 1}}}},
        **{"a.b`": {"boolean_value": True}},
    )

    assert mask(old, new) == ["`a.b\\``", "filled", "gone", "kind", "map.b"]


def test_an_event_above_the_limit_comes_without_a_body() -> None:
    """A byte less and it has one."""
    created = change(None, document(text={"string_value": "x" * 1_000}))
    size = len(cloudevent.body(created, 10_000))

    assert size > 1_000
    assert len(cloudevent.body(created, size)) == size
    assert cloudevent.body(created, size - 1) == b""
