"""The position of the change feed, between commits and during one."""

import asyncio
import time
from functools import partial

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.storage.change_feed import (
    MAX_QUEUE_BYTES,
    MAX_QUEUE_LENGTH,
    ChangeFeed,
    ChangeQueue,
    ParsedChange,
)
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Change
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.server_process import DATABASE, ROOT


def test_a_stream_that_keeps_up_never_overflows() -> None:
    """Its queue is limited. The number and the bytes of all changes since the start of the stream are not."""
    queue = ChangeQueue()

    for number in range(MAX_QUEUE_LENGTH + 1):
        size = MAX_QUEUE_BYTES // 2 if number < 3 else 0
        queue.add([ParsedChange(Change(number, number, "name", None, bytes(size)))])
        assert len(queue.pop_commit()) == 1

    assert not queue


async def test_a_page_of_large_changes_is_short(storage: Storage) -> None:
    """Listeners and event delivery hold a page in memory. The next pages contain the other changes."""
    for number in range(20):
        document = m.Document(name=f"{ROOT}/a/{number}", fields={"bytes": m.Value(bytes_value=bytes(1_000_000))})
        write = document_write.prepare(m.Write(update=document), DATABASE)
        await storage.write(partial(commits.commit, writes=[write], check_conflicts=commits.no_conflicts))

    first = await storage.changes(0, 500)
    second = await storage.changes(first[-1].sequence, 500)

    assert [change.sequence for change in (*first, *second)] == list(range(1, 21))
    assert sum(len(change.new or b"") for change in first) < 20_000_000


async def test_the_position_never_moves_backwards(storage: Storage) -> None:
    """Readers see a commit before the feed publishes it. Google promises read times that only increase."""
    feed = ChangeFeed(storage)
    before = feed.position
    write = document_write.prepare(m.Write(update=m.Document(name=f"{ROOT}/a/b")), DATABASE)
    work = partial(commits.commit, writes=[write], check_conflicts=commits.no_conflicts)

    committing = asyncio.create_task(storage.write(work))
    await asyncio.sleep(0)  # the task submits its work; afterwards this test blocks the event loop
    deadline = time.monotonic() + 60
    while storage.snapshot().sequence == before.sequence:
        assert time.monotonic() < deadline, "the writer did not commit"
    meanwhile = feed.position
    await committing
    after = feed.position

    assert [meanwhile.sequence, after.sequence] == [before.sequence, before.sequence + 1]
    assert before.read_time <= meanwhile.read_time <= after.read_time
