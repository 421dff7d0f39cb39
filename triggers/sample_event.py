"""A sample event: the CloudEvent that Eventarc sends after a sample's header was written.

The body is a protobuf message with the document before and after the write. Eventarc omits the
body if it is too large, so a missing body does not mean that the sample was deleted. The function
then reads the document that the event's attributes name.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from cloudevents.abstract import CloudEvent
from google.events.cloud.firestore_v1 import DocumentEventData
from google.protobuf.message import DecodeError

from storage.documents import document_paths

_TYPE_PREFIX = "google.cloud.firestore.document.v1."
_SOURCE_PREFIX = "//firestore.googleapis.com/"
_DocumentEventData: Any = DocumentEventData.pb()

logger = logging.getLogger(__name__)


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


def parse(event: CloudEvent) -> SampleEvent | None:
    """Return the sample event in `event`. If the event is not about a sample, log a warning and return None."""
    event_type = event["type"]
    if not event_type.startswith(_TYPE_PREFIX):
        logger.warning("event %s ignored: %s is not a Firestore event", event["id"], event_type)
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
    if len(parts) != 4 or path != document_paths.sample(parts[1], parts[3]):
        logger.warning("event %s ignored: %s is not a sample", event["id"], name)
        return None
    is_deletion = header is None and (
        data.HasField("old_value") or event_type.removeprefix(_TYPE_PREFIX).startswith("deleted")
    )
    return SampleEvent(database, parts[1], parts[3], header, is_deletion)


def _data(event: CloudEvent) -> Any:
    """Return the body of `event`, or an empty message if the event has no readable body."""
    body = event.get_data()
    if isinstance(body, bytes):
        try:
            return _DocumentEventData.FromString(body)
        except DecodeError:
            logger.warning("event %s: body is not a DocumentEventData, reading the document instead", event["id"])
    return _DocumentEventData()
