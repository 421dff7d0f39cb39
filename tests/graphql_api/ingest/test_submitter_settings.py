"""The settings of a submitter, when they change while they are read."""

import asyncio
from typing import Any, cast

import pytest

from graphql_api.ingest.submitter_settings import SubmitterSettings
from storage.documents import Retention
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, Write

pytestmark = pytest.mark.anyio


class SlowFirestore:
    """A Firestore with one document, whose reads end when the test says so. It is also the writer."""

    def __init__(self) -> None:
        self.document: Any = None
        self.may_end = asyncio.Event()
        self.started = asyncio.Event()

    def name(self, path: str) -> str:
        """Return the name of a document."""
        return path

    async def batch_get(self, paths: list[str]) -> dict[str, Any]:
        """Return the document as it is at the start of the read."""
        found = {path: self.document for path in paths if self.document is not None}
        self.started.set()
        await self.may_end.wait()
        return found

    async def commit(self, writes: list[Any]) -> None:
        """Store the document after the entry of the audit log."""
        self.document = Document(fields=writes[-1].update.fields)


async def test_a_change_during_a_read_applies_to_the_next_sample() -> None:
    """The read may return the earlier settings. They must not be cached after the change is stored."""
    firestore = SlowFirestore()
    settings = SubmitterSettings(cast(Firestore, firestore), default_retention=Retention())
    reading = asyncio.create_task(settings.current("local"))
    await firestore.started.wait()
    await settings.set_skips_missing("local", Write(), skips_missing=True)
    firestore.may_end.set()

    assert not (await reading).skips_missing
    assert encoding.from_document(firestore.document)
    assert (await settings.current("local")).skips_missing
