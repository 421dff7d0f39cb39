"""A sample event: the CloudEvent that Eventarc sends after a sample's header was written.

The body is a protobuf message with the document before and after the write. Eventarc omits the body if it is too large,
so a missing body does not mean that the sample was deleted. The function then reads the document that the attributes of
the event name.

A *notice* says that an event has failed too often and is not retried any more. On one machine, a notice is an event
with the attribute `givenup` and without a body. On Google Cloud, it is a message of the dead-letter topic: the message
of the event, with further attributes. Pub/Sub wraps this message in JSON and sends it to a separate endpoint.

Eventarc sends protobuf in binary mode: the attributes are HTTP headers. `BinaryEvent` is sufficient for such an event.
functions-framework would pass it through Starlette and cloudevents, which takes 80 µs of CPU time per event.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec
from cloudevents.abstract import CloudEvent
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent as ReceivedEvent
from google.events.cloud.firestore_v1 import DocumentEventData
from google.protobuf.message import DecodeError

from storage.documents import Status, belongs_to_sample, document_paths
from storage.firestore import encoding
from storage.firestore.messages import Document

_TYPE_PREFIX = "google.cloud.firestore.document.v1."
_SOURCE_PREFIX = "//firestore.googleapis.com/"
_DocumentEventData: Any = DocumentEventData.pb()

_DATABASE = re.compile(r"projects/[\w.:-]{1,100}/databases/[\w()-]{1,100}", re.ASCII)
_SAMPLE_ID = re.compile(r"[\w.-]{1,100}", re.ASCII)
MAX_LOGGED_CHARACTERS = 200
MAX_PROBLEM_CHARACTERS = 300

PROTOBUF = b"application/protobuf"

_ATTRIBUTE_PREFIX = "ce-"
_HEADER_PREFIX = _ATTRIBUTE_PREFIX.encode()
_REQUIRED_HEADERS = {b"ce-id", b"ce-source", b"ce-type"}
_DELIVERY_COUNT = "CloudPubSubDeadLetterSourceDeliveryCount"
_NO_PROBLEM = "Pub/Sub does not store it; see the log of the function"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """An event is not retried any more after `attempts` failed attempts. The last attempt failed with `problem`."""

    attempts: int
    problem: str


class SampleEvent(msgspec.Struct, frozen=True):
    """A sample's header was created, changed or deleted.

    `database` is the full name: `projects/{project}/databases/{database}`. `header` is the protocol
    `Document` after the write. It is None if the sample was deleted or the event has no body.
    """

    database: str
    submitter: str
    sample_id: str
    header: Document | None = None
    is_deletion: bool = False
    written_at: datetime | None = None
    """The time of the write. Only notices have it."""
    notice: Notice | None = None

    def supersedes(self, result: Mapping[str, object]) -> bool:
        """Return whether the event says that another sample corrects the sample of this result, which is COMPUTED."""
        if self.header is None or "superseded_by" not in self.header.fields:
            return False
        submitted_at = encoding.field_time(self.header, "submitted_at")
        return result.get("status") == Status.COMPUTED.value and belongs_to_sample(result, submitted_at)


class _Message(msgspec.Struct):
    """A message of Pub/Sub. In JSON, the data is in base64, which msgspec decodes."""

    attributes: dict[str, str] = {}
    data: bytes = b""


class _Delivery(msgspec.Struct):
    """The body of a request of a push subscription."""

    message: _Message


class BinaryEvent(CloudEvent):
    """A CloudEvent of HTTP headers and unparsed data. Names of headers are lower-case."""

    def __init__(self, headers: Mapping[bytes, bytes], data: bytes) -> None:
        self._headers = headers
        self._data = data

    def __getitem__(self, key: str) -> str:
        """Return an attribute. Most events need only their type."""
        return self._headers[_HEADER_PREFIX + key.encode()].decode("latin-1")

    def _get_attributes(self) -> dict[str, Any]:
        return {
            name.removeprefix(_HEADER_PREFIX).decode("latin-1"): value.decode("latin-1")
            for name, value in self._headers.items()
            if name.startswith(_HEADER_PREFIX)
        }

    def get_data(self) -> bytes:
        """Return the data."""
        return self._data


def is_protobuf_event(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the headers of a request are those of a `BinaryEvent`. Names are lower-case."""
    return (
        headers.get(b"content-type") == PROTOBUF
        and headers.get(b"ce-specversion") == b"1.0"
        and headers.keys() >= _REQUIRED_HEADERS
    )


def parse_dead_letter(body: bytes) -> SampleEvent | None:
    """Return the notice in the body of a request of the dead-letter topic's push subscription.

    The message has the attributes of the CloudEvent, with the prefix `ce-`. If the message does not name a sample, log
    an error and return None, because a retry cannot change the message.
    """
    try:
        message = msgspec.json.decode(body, type=_Delivery).message
        prefixed = message.attributes.items()
        attributes = {
            name.removeprefix(_ATTRIBUTE_PREFIX): value
            for name, value in prefixed
            if name.startswith(_ATTRIBUTE_PREFIX)
        }
        event = parse(ReceivedEvent(attributes, message.data))
    except (msgspec.DecodeError, GenericException) as error:
        logger.error("dead letter: ignored, not an event in a message of Pub/Sub: %s", printable(error))  # noqa: TRY400
        return None
    if event is None:
        logger.error("dead letter: ignored, it does not name a sample: %s", printable(attributes.get("document")))
        return None
    written_at = event.written_at or _time(attributes)
    if event.header is not None:
        written_at = event.header.update_time.ToDatetime(tzinfo=UTC)
    notice = Notice(_attempts(message.attributes.get(_DELIVERY_COUNT)), _NO_PROBLEM)
    return msgspec.structs.replace(event, header=None, written_at=written_at, notice=notice)


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
    if header is None and event.get("givenup") == "true":  # `get` takes 9 µs, and most events have a body
        attributes = event.get_attributes()
        return SampleEvent(
            database, parts[1], parts[3], is_deletion=is_deletion, written_at=_time(attributes), notice=_notice(event)
        )
    return SampleEvent(database, parts[1], parts[3], header, is_deletion)


def printable(text: object, max_characters: int = MAX_LOGGED_CHARACTERS) -> str:
    """Return a text for the log or for a message: shortened, and with control characters escaped."""
    shown = str(text)[:max_characters]
    return shown if shown.isprintable() else ascii(shown)[1:-1]


def _notice(event: CloudEvent) -> Notice:
    problem = printable(
        unquote(str(event.get("problem") or "unknown"))[:MAX_PROBLEM_CHARACTERS], MAX_PROBLEM_CHARACTERS
    )
    return Notice(_attempts(event.get("attempts")), problem)


def _attempts(text: object) -> int:
    return int(str(text)) if re.fullmatch(r"[0-9]{1,9}", str(text)) else 1


def _time(attributes: Mapping[str, Any]) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(attributes.get("time")))
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
