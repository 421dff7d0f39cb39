"""Eventarc for Google's emulator: `python -m tests.google_emulator.eventarc FIRESTORE FUNCTION`.

Listens to all samples, and sends each write to the function in the form that Eventarc uses, until the function
acknowledges it. Events can overtake each other, as in production. If a document is written several times within a
moment, Firestore reports the last write only.
"""

import logging
import os
import queue
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import Document, ListenRequest

from infra.embedded.eventarc import cloudevent
from infra.embedded.firestore.storage.versions import Change

MAX_EVENT_BYTES = 512_000
_LOCATION = "europe-west6"
_MAX_WAIT_SECONDS = 1.0

logger = logging.getLogger("eventarc")


class EventSender:
    """Sends events to the function at `url`, several at a time."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=600)
        self._url = url
        self._threads = ThreadPoolExecutor(16)

    def send(self, change: Change) -> None:
        """Send an event in the background until it is acknowledged."""
        self._threads.submit(self._send, change)

    def _send(self, change: Change) -> None:
        headers = cloudevent.headers(change, cloudevent.WRITTEN, _LOCATION)
        body = cloudevent.body(change, MAX_EVENT_BYTES)
        wait_seconds = 0.05
        while True:
            try:
                response = self._client.post(self._url, content=body, headers=headers)
                if response.is_success:
                    return
                problem = f"{response.status_code} {response.text}"
            except httpx.TransportError as error:
                problem = repr(error)
            logger.warning("%s: %s; sending it again", change.name, problem)
            time.sleep(wait_seconds * random.uniform(0.5, 1.0))
            wait_seconds = min(2 * wait_seconds, _MAX_WAIT_SECONDS)


def changes(api: Any, database: str) -> Iterator[Change]:
    """Yield the changes of all samples."""
    known: dict[str, Document] = {}
    requests: queue.SimpleQueue[ListenRequest] = queue.SimpleQueue()
    samples = {"collection_id": "samples", "all_descendants": True}
    target = {"query": {"parent": f"{database}/documents", "structured_query": {"from_": [samples]}}, "target_id": 1}
    requests.put(ListenRequest(database=database, add_target=target))
    metadata = (("google-cloud-resource-prefix", database),)
    for response in api.listen(requests=iter(requests.get, None), metadata=metadata):
        if "document_change" in response:
            document = response.document_change.document
            name, written_at = document.name, document.update_time
        elif "document_delete" in response:
            document = None
            name, written_at = response.document_delete.document, response.document_delete.read_time
        else:
            continue
        before = known.get(name)
        if document is None:
            known.pop(name, None)
        elif before is not None and before.update_time == document.update_time:
            continue  # the emulator can send all documents again
        else:
            known[name] = document
        yield Change(
            sequence=0,
            commit_time=int(written_at.timestamp() * 1_000_000),
            name=name,
            old=None if before is None else Document.serialize(before),
            new=None if document is None else Document.serialize(document),
        )


def main() -> None:
    """Send the events of the Firestore in the first argument to the function in the second argument."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    address, url = sys.argv[1:]
    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
    api = FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))
    sender = EventSender(url, os.environ["DROPZONE_EVENT_SECRET"])
    for change in changes(api, f"projects/{os.environ['GOOGLE_CLOUD_PROJECT']}/databases/(default)"):
        sender.send(change)


if __name__ == "__main__":
    main()
