"""A change as a CloudEvent in binary mode, with the headers and body that Eventarc sends.

The body is a DocumentEventData message. The document in an event has the same bytes as the stored
google.firestore.v1.Document. This module therefore builds the body from the stored bytes. It parses documents
only to compute the update mask.

Note: an event above the size limit has no body, as in production. The function must then read the document that the
header `ce-document` names.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from infra.embedded.firestore import messages
from infra.embedded.firestore.encoding import values
from infra.embedded.firestore.storage.versions import Change

EVENT_TYPE_PREFIX = "google.cloud.firestore.document.v1."
SCHEMA = "https://github.com/googleapis/google-cloudevents/blob/main/proto/google/events/cloud/firestore/v1/data.proto"

CREATED = "created"
UPDATED = "updated"
DELETED = "deleted"
WRITTEN = "written"

WITH_AUTH_CONTEXT = ".withAuthContext"
"""The end of the event types whose events say who has written the document."""

MAX_PROBLEM_CHARACTERS = 300

_VALUE = b"\x0a"
_OLD_VALUE = b"\x12"
_UPDATE_MASK = b"\x1a"
_FIELD_PATHS = b"\x0a"

_epoch = datetime(1970, 1, 1, tzinfo=UTC)
_printable = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
_plain = re.compile(f"[{re.escape(_printable)}]*")
_simple_field = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def change_kind(change: Change) -> str:
    """Return the kind of the change: CREATED, UPDATED or DELETED."""
    if change.old is None:
        return CREATED
    return DELETED if change.new is None else UPDATED


def split_name(name: str) -> tuple[str, str, str]:
    """Return project, database and path of `projects/{project}/databases/{database}/documents/{path}`."""
    _, project, _, database, _, path = name.split("/", 5)
    return project, database, path


def headers(change: Change, kind: str, location: str) -> dict[str, str]:
    """Return the HTTP headers of the event. All attempts to send an event use the same `ce-id`.

    `kind` is the end of the event type of the trigger, such as `written`. It is part of the id: if one trigger selects
    `written` and another one `created`, a change causes two events.

    This server does not know who has written a document. The type of the principal in an event with an authentication
    context is therefore `unknown`, as in Google's emulator.
    """
    project, database, path = split_name(change.name)
    document = path if _plain.fullmatch(path) else quote(path, safe=_printable)
    event_id = f"{change.commit_time:x}-{change.sequence:x}-{kind}"
    auth_context = {"ce-authtype": "unknown"} if kind.endswith(WITH_AUTH_CONTEXT) else {}
    return auth_context | {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": f"//firestore.googleapis.com/projects/{project}/databases/{database}",
        "ce-type": EVENT_TYPE_PREFIX + kind,
        "ce-subject": f"documents/{document}",
        "ce-time": _time(change.commit_time),
        "ce-document": document,
        "ce-database": database,
        "ce-namespace": "(default)",
        "ce-project": project,
        "ce-location": location,
        "ce-dataschema": SCHEMA,
        "content-type": "application/protobuf",
        "function-execution-id": event_id,  # Cloud Run sends one; functions-framework would generate another id
    }


def given_up_headers(change: Change, kind: str, location: str, attempts: int, problem: str) -> dict[str, str]:
    """Return the HTTP headers of a notice: the event is not retried any more after `attempts` failed attempts.

    The extension attributes `givenup`, `attempts` and `problem` distinguish a notice from the event. A notice has no
    body. `problem` is the problem of the last attempt. The HTTP binding of CloudEvents requires that it is
    percent-encoded.
    """
    return headers(change, kind, location) | {
        "ce-givenup": "true",
        "ce-attempts": str(attempts),
        "ce-problem": quote(problem[:MAX_PROBLEM_CHARACTERS], safe=_printable),
    }


def body(change: Change, max_bytes: int) -> bytes:
    """Return the serialized DocumentEventData, or `b""` if it is longer than `max_bytes` or a document is damaged."""
    if len(change.old or b"") + len(change.new or b"") > max_bytes or b"" in (change.old, change.new):
        return b""
    parts: list[bytes] = []
    if change.new is not None:
        parts += (_VALUE, _length(change.new), change.new)
    if change.old is not None:
        parts += (_OLD_VALUE, _length(change.old), change.old)
        if change.new is not None:
            mask = _mask(change.old, change.new)
            parts += (_UPDATE_MASK, _length(mask), mask)
    joined = b"".join(parts)
    return joined if len(joined) <= max_bytes else b""


@lru_cache(maxsize=64)  # the changes of one commit have the same time
def _time(microseconds: int) -> str:
    time = _epoch + timedelta(microseconds=microseconds)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _length(part: bytes) -> bytes:
    """Return the length of `part` as a protobuf varint."""
    encoded = bytearray()
    rest = len(part)
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def _mask(old: bytes, new: bytes) -> bytes:
    before, after = messages.Document.FromString(old), messages.Document.FromString(new)
    paths = [path.encode() for path in sorted(_changed(before.fields, after.fields, ""))]
    return b"".join(part for path in paths for part in (_FIELD_PATHS, _length(path), path))


def _changed(before: Any, after: Any, parent: str) -> Iterator[str]:
    """Yield the paths of the fields that differ. If both values are maps, compare the fields of the maps.

    Vectors and BSON values are maps in messages, but no path leads into them.
    """
    for name in before.keys() | after.keys():
        path = parent + (name if _simple_field.fullmatch(name) else _quoted(name))
        if name not in before or name not in after:
            yield path
        elif _has_nested_fields(before[name]) and _has_nested_fields(after[name]):
            old, new = before[name].map_value.fields, after[name].map_value.fields
            if bool(old) != bool(new):
                yield path
            yield from _changed(old, new, f"{path}.") if old and new else ()
        elif _bytes(before[name]) != _bytes(after[name]):  # in serialized form, NaN equals NaN, and 1 differs from 1.0
            yield path


def _has_nested_fields(value: Any) -> bool:
    return value.HasField("map_value") and not values.is_typed_map(value)


def _bytes(value: Any) -> bytes:
    return bytes(value.SerializeToString(deterministic=True))


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
