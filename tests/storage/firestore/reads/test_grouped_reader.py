"""Reads that arrive at the same time share calls."""

import asyncio
from collections.abc import Collection
from typing import cast

import pytest

from storage.documents import Unavailable
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, Value
from storage.firestore.reads.grouped_reader import GroupedReader


class Recorded:
    """Stands for a client of Firestore. `missing` does not exist; calls wait until the test lets them return."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.returns = asyncio.Event()
        self.error: Exception | None = None

    async def batch_get(self, paths: Collection[str], *, mask: Collection[str]) -> dict[str, Document]:
        """Return a document for each path."""
        self.calls.append(list(paths))
        await self.returns.wait()
        if self.error is not None:
            raise self.error
        return {path: new_document(path, *mask) for path in paths if path != "missing"}


def new_document(path: str, *mask: str) -> Document:
    """Return a document with the fields in `mask`."""
    return Document(name=path, fields=dict.fromkeys(mask, Value()))


def new_reader(recorded: Recorded) -> GroupedReader:
    """Return a reader of the field `a`."""
    return GroupedReader(cast(Firestore, recorded), ("a",))


async def test_reads_of_the_same_time_share_a_call_and_each_has_its_documents() -> None:
    """Reads that arrive during a call share the next one. A document is named once in a call."""
    recorded = Recorded()
    reader = new_reader(recorded)
    tasks = [asyncio.create_task(reader.read(*paths)) for paths in (("one", "two"), ("two", "missing"))]
    await asyncio.sleep(0.01)
    tasks += [asyncio.create_task(reader.read(path)) for path in ("three", "four")]
    await asyncio.sleep(0.01)
    recorded.returns.set()

    assert await asyncio.gather(*tasks) == [
        {"one": new_document("one", "a"), "two": new_document("two", "a")},
        {"two": new_document("two", "a")},
        {"three": new_document("three", "a")},
        {"four": new_document("four", "a")},
    ]
    assert recorded.calls == [["one", "two", "missing"], ["three", "four"]]


async def test_every_read_of_a_failed_call_has_its_error() -> None:
    """The next read starts a new call."""
    recorded = Recorded()
    reader = new_reader(recorded)
    recorded.error = Unavailable("on purpose")
    recorded.returns.set()

    outcomes = await asyncio.gather(reader.read("one"), reader.read("two"), return_exceptions=True)
    recorded.error = None

    assert isinstance(outcomes[0], Unavailable)
    assert outcomes[1] is outcomes[0]
    assert await reader.read("one") == {"one": new_document("one", "a")}


async def test_a_read_that_was_cancelled_is_not_sent() -> None:
    """The others of its group are."""
    recorded = Recorded()
    reader = new_reader(recorded)
    first = asyncio.create_task(reader.read("one"))
    await asyncio.sleep(0.01)
    cancelled, kept = (asyncio.create_task(reader.read(path)) for path in ("two", "three"))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    recorded.returns.set()

    assert await first == {"one": new_document("one", "a")}
    assert await kept == {"three": new_document("three", "a")}
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert recorded.calls == [["one"], ["three"]]
