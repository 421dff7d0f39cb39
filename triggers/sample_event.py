"""A sample event: the CloudEvent that Eventarc sends after a sample's header was written.

The body is a protobuf message with the document before and after the write. Eventarc omits the
body if it is too large, so a missing body does not mean that the sample was deleted. The function
then reads the document that the event's attributes name.

A *notice* is an event with the attribute `givenup`. It says that the delivery of an event has failed
too often, and why. A notice has no body.
"""

import logging
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from cloudevents.abstract import CloudEvent
from google.events.cloud.firestore_v1 import DocumentEventData
from google.protobuf.message import DecodeError

from storage.documents import document_paths

_TYPE_PREFIX = "google.cloud.firestore.document.v1."
_SOURCE_PREFIX = "//firestore.googleapis.com/"
_DocumentEventData: Any = DocumentEventData.pb()

_DATABASE = re.compile(r"projects/[\w.:-]{1,100}/databases/[\w()-]{1,100}", re.ASCII)
_SAMPLE_ID = re.compile(r"[\w.-]{1,100}", re.ASCII)
MAX_LOGGED_CHARACTERS = 200
MAX_PROBLEM_CHARACTERS = 300

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """An event was given up after `attempts` failed attempts. `problem` is that of the last attempt."""

    attempts: int
    problem: str


@dataclass(frozen=True, slots=True)
class SampleEvent:
    """A sample's header was created, changed or deleted.

    `database` is the full name: `projects/{project}/databases/{database}`. `header` is the protocol
    `Document` after the write. It is None if the sample was deleted or the event has no body.
    """

    database: str
    submitter: str
    sample_id: str
    header: Any = field(default=None, repr=False)
    is_deletion: bool = False
    written_at: datetime | None = None
    """The time of the write. Only notices have it."""
    notice: Notice | None = None


def parse(event: CloudEvent) -> SampleEvent | None:
    """Return the sample event in `event`. If the event is not about a sample, log a warning and return None."""
    event_type = event["type"]
    if not event_type.startswith(_TYPE_PREFIX):
        logger.warning("event %s ignored: %s is not a Firestore event", printable(event["id"]), printable(event_type))
        return None
    data = _data(event)
    header = data.value if data.HasField("value") else None
    if header is not None:
        name = header.name
    elif data.HasField("old_value"):
        name = data.old_value.name
    else:
        name = f"{event['source'].removeprefix(_SOURCE_PREFIX)}/documents/{event.get('document')}"
    database, _, path = name.partition("/documents/")
    parts = path.split("/")
    if (
        len(parts) != 4
        or path != document_paths.sample(parts[1], parts[3])
        or not (document_paths.is_submitter(parts[1]) and _SAMPLE_ID.fullmatch(parts[3]))
        or not _DATABASE.fullmatch(database)
    ):
        logger.warning("event %s ignored: %s is not a sample", printable(event["id"]), printable(name))
        return None
    is_deletion = header is None and (
        data.HasField("old_value") or event_type.removeprefix(_TYPE_PREFIX).startswith("deleted")
    )
    if header is None and event.get("givenup") == "true":  # `get` takes 9 us, and most events have a body
        return SampleEvent(
            database, parts[1], parts[3], is_deletion=is_deletion, written_at=_time(event), notice=_notice(event)
        )
    return SampleEvent(database, parts[1], parts[3], header, is_deletion)


def printable(text: object, max_characters: int = MAX_LOGGED_CHARACTERS) -> str:
    """Return a text for the log or for a message: shortened, and with control characters escaped."""
    shown = str(text)[:max_characters]
    return shown if shown.isprintable() else ascii(shown)[1:-1]


def _notice(event: CloudEvent) -> Notice:
    attempts = str(event.get("attempts", ""))
    problem = printable(
        unquote(str(event.get("problem") or "unknown"))[:MAX_PROBLEM_CHARACTERS], MAX_PROBLEM_CHARACTERS
    )
    return Notice(int(attempts) if re.fullmatch(r"[0-9]{1,9}", attempts) else 1, problem)


def _time(event: CloudEvent) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(event.get("time")))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _data(event: CloudEvent) -> Any:
    """Return the body of `event`, or an empty message if the event has no readable body."""
    body = event.get_data()
    if isinstance(body, bytes):
        try:
            return _DocumentEventData.FromString(body)
        except DecodeError:
            logger.warning(
                "event %s: body is not a DocumentEventData, reading the document instead", printable(event["id"])
            )
    return _DocumentEventData()
