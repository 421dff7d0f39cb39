"""A CloudEvent -> which sample it is about, and what the event says of it.

The body is a protobuf with the document before and after the write. The trap: Eventarc leaves the body out
when it is too large, so no body does not mean that the sample was deleted; it means that the document
must be read, by the name that the event's attributes give.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from cloudevents.abstract import CloudEvent
from google.events.cloud.firestore_v1 import DocumentEventData
from google.protobuf.message import DecodeError

from storage.documents import document_paths

FIRESTORE_TYPES = "google.cloud.firestore.document.v1."
_SOURCE = "//firestore.googleapis.com/"
_DocumentEventData: Any = DocumentEventData.pb()

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SampleWritten:
    """A sample's header was created, changed or deleted.

    `database` is `projects/{project}/databases/{database}`. `document` is the header after the write as
    a protocol `Document`: None where the sample was `deleted`, and where the event came without it.
    """

    database: str
    submitter: str
    sample_id: str
    document: Any = field(default=None, repr=False)
    deleted: bool = False


def read(event: CloudEvent) -> SampleWritten | None:
    """Return what `event` says of a sample; None, and a line in the log, where it is about none."""
    event_type = event["type"]
    if not event_type.startswith(FIRESTORE_TYPES):
        logger.warning("event %s ignored: %s is no Firestore event", event["id"], event_type)
        return None
    data = _data(event)
    document = data.value if data.HasField("value") else None
    if document is not None:
        name = document.name
    elif data.HasField("old_value"):
        name = data.old_value.name
    else:
        name = f"{event['source'].removeprefix(_SOURCE)}/documents/{event.get('document')}"
    database, _, path = name.partition("/documents/")
    parts = path.split("/")
    if len(parts) != 4 or path != document_paths.sample(parts[1], parts[3]):
        logger.warning("event %s ignored: %s is no sample", event["id"], name)
        return None
    deleted = document is None and (
        data.HasField("old_value") or event_type.removeprefix(FIRESTORE_TYPES).startswith("deleted")
    )
    return SampleWritten(database, parts[1], parts[3], document, deleted)


def _data(event: CloudEvent) -> Any:
    """Return the body of `event`; an empty message where it has none that can be read."""
    body = event.get_data()
    if isinstance(body, bytes):
        try:
            return _DocumentEventData.FromString(body)
        except DecodeError:
            logger.warning("event %s: the body is no DocumentEventData, the document is read", event["id"])
    return _DocumentEventData()
