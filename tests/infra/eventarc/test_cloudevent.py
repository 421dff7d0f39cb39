"""Headers and body of an event, decoded with the libraries that functions use."""

import math

from cloudevents.http import from_http
from google.cloud.firestore_v1.types import Document
from google.events.cloud.firestore import DocumentEventData

from infra.embedded.eventarc import cloudevent
from infra.embedded.firestore.storage.versions import Change

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
    """The update mask of an update."""
    data = DocumentEventData.deserialize(cloudevent.body(change(old, new), 10_000))
    return list(data.update_mask.field_paths)


def test_the_headers_are_those_of_eventarc() -> None:
    """A CloudEvents library reads them, and every attribute is present."""
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


def test_characters_that_a_header_cannot_hold_are_percent_encoded() -> None:
    """The HTTP binding of CloudEvents requires it."""
    name = 'projects/p/databases/(default)/documents/users/Zoë "100%"\r\nx: y'

    headers = cloudevent.headers(change(None, b"", name), "created", "local")

    assert headers["ce-document"] == "users/Zo%C3%AB%20%22100%25%22%0D%0Ax:%20y"


def test_the_event_of_a_created_document_has_only_a_value() -> None:
    """It has neither an old value nor an update mask."""
    body = cloudevent.body(change(None, document(age={"integer_value": 7})), 10_000)

    data = DocumentEventData.deserialize(body)
    assert data.value.name == NAME
    assert data.value.fields["age"].integer_value == 7
    assert "old_value" not in data
    assert "update_mask" not in data


def test_the_event_of_a_deleted_document_has_only_an_old_value() -> None:
    """It has neither a value nor an update mask."""
    body = cloudevent.body(change(document(age={"integer_value": 7}), None), 10_000)

    data = DocumentEventData.deserialize(body)
    assert data.old_value.fields["age"].integer_value == 7
    assert "value" not in data
    assert "update_mask" not in data


def test_the_update_mask_lists_the_fields_that_changed() -> None:
    """It lists added, removed and changed fields, also inside maps, and quotes unusual names."""
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


def test_the_update_mask_names_a_changed_vector_as_a_whole() -> None:
    """A vector is a map in the message, but no field path leads into it."""

    def vector(*components: float) -> dict[str, object]:
        elements = [{"double_value": component} for component in components]
        fields = {"__type__": {"string_value": "__vector__"}, "value": {"array_value": {"values": elements}}}
        return {"map_value": {"fields": fields}}

    old, new = document(v=vector(1.0), same=vector(1.0)), document(v=vector(2.0), same=vector(1.0))

    assert mask(old, new) == ["v"]


def test_an_event_above_the_size_limit_has_no_body() -> None:
    """At exactly the limit it has one."""
    created = change(None, document(text={"string_value": "x" * 1_000}))
    size = len(cloudevent.body(created, 10_000))

    assert size > 1_000
    assert len(cloudevent.body(created, size)) == size
    assert cloudevent.body(created, size - 1) == b""
