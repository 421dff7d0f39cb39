"""Listen streams that stay open for long: heartbeats, and clients that read slowly."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.listen.resume import missed_changes
from infra.embedded.firestore.listen.stream import MAX_WAITING_REQUESTS, ListenStream
from infra.embedded.firestore.listen.targets import DocumentsTarget
from infra.embedded.firestore.listen.turns import Turns
from infra.embedded.firestore.storage import change_feed
from infra.embedded.firestore.storage.change_feed import ChangeFeed
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Change
from infra.embedded.firestore.writes import commits, document_write
from infra.embedded.firestore.writes.pruning import prune
from tests.infra.firestore.listen.listen_calls import CURRENT, Stream, query, write
from tests.infra.firestore.queries.cases import count_reads
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess

FREQUENT_HEARTBEATS = """
from infra.embedded.firestore import __main__
from infra.embedded.firestore.listen import stream
stream.HEARTBEAT_SECONDS = 0.2
raise SystemExit(__main__.main())
"""


def test_heartbeats_continue_while_other_documents_change(own: FirestoreProcess) -> None:
    """Clients open another stream if they receive no response for two minutes."""
    own.program = ("-c", FREQUENT_HEARTBEATS)
    own.start()
    stream = Stream(own, query("beats", minimum=3))
    stream.snapshot()
    has_ended = threading.Event()

    def write_others() -> None:
        while not has_ended.is_set():
            write(own, beats__a=1)
            write(own, beats__a=2)

    with ThreadPoolExecutor(1) as executor:
        writing = executor.submit(write_others)
        try:
            heartbeats = [stream.snapshot() for _ in range(3)]
        finally:
            has_ended.set()
        writing.result()

    assert heartbeats == [[], [], []]
    stream.close()


def test_a_slow_client_receives_every_commit_as_a_whole(own: FirestoreProcess) -> None:
    """The stream drops changes that it cannot hold in memory, and reads them from the file in several pages."""
    own.start()
    stream = Stream(own, query("slow"))
    stream.snapshot()
    client = own.client()
    for commit in range(6):
        batch = client.batch()
        for number in range(9):
            batch.set(client.document(f"slow/{commit}{number}"), {"n": commit, "bytes": bytes(1_000_000)})
        batch.commit()

    snapshots = [stream.snapshot() for _ in range(6)]

    assert snapshots == [[f"+{commit}{number}" for number in range(9)] for commit in range(6)]
    write(own, slow__last=1)
    assert stream.snapshot() == ["+last"]
    stream.close()


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_slow_stream_ends_if_changes_are_pruned_while_it_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """It would otherwise not learn that a document was deleted. The client listens again.

    A read can see the pruning before the event loop knows that it is committed.
    """
    monkeypatch.setattr(change_feed, "MAX_QUEUE_LENGTH", 0)
    storage = Storage(tmp_path / "firestore.sqlite", version_retention_seconds=0)
    changes = storage.changes
    is_current = asyncio.Event()

    async def commit(*writes: Any) -> None:
        prepared = [document_write.prepare(write, DATABASE) for write in writes]
        await storage.write(lambda group: commits.commit(group, prepared, commits.no_conflicts))

    async def prune_first(after: int, limit: int) -> list[Change]:
        known = storage.pruned_sequence
        await prune(storage)
        if not is_known:
            storage.pruned_sequence = known
        return await changes(after, limit)

    async def requests() -> AsyncIterator[Any]:
        yield m.ListenRequest(database=DATABASE, add_target=query("pruned"))
        await asyncio.Event().wait()

    async def respond(response: Any) -> None:
        if response.target_change.target_change_type == CURRENT:
            is_current.set()

    monkeypatch.setattr(storage, "changes", prune_first)
    await commit(m.Write(update=m.Document(name=f"{ROOT}/pruned/a", fields={"n": m.Value(integer_value=1)})))
    stream = ListenStream(ChangeFeed(storage), Turns(), respond, DATABASE)
    listening = asyncio.create_task(stream.run(requests()))
    await is_current.wait()
    await commit(m.Write(delete=f"{ROOT}/pruned/a"))
    await commit(m.Write(update=m.Document(name=f"{ROOT}/pruned/b")))

    with pytest.raises(StatusError, match="too slow"):
        async with asyncio.timeout(60):
            await listening
    await storage.close()


async def test_a_target_starts_again_if_changes_that_it_has_missed_are_pruned(tmp_path: Path) -> None:
    """A read of the changes can see the pruning before the event loop knows that it is committed."""
    storage = Storage(tmp_path / "firestore.sqlite", version_retention_seconds=0)
    positions = []
    for message in (
        m.Write(update=m.Document(name=f"{ROOT}/pruned/a")),
        m.Write(delete=f"{ROOT}/pruned/a"),
        m.Write(update=m.Document(name=f"{ROOT}/pruned/b")),
    ):
        write = document_write.prepare(message, DATABASE)
        await storage.write(partial(commits.commit, writes=[write], check_conflicts=commits.no_conflicts))
        positions.append(storage.snapshot())
    target = DocumentsTarget(1, DATABASE, [f"{ROOT}/pruned/a"])

    before = await missed_changes(storage, target, positions[0], positions[-1])
    await prune(storage)
    storage.pruned_sequence = 0
    after = await missed_changes(storage, target, positions[0], positions[-1])
    await storage.close()

    assert before is not None
    assert [change.new for change in before] == [None]
    assert after is None


async def test_a_stream_reads_few_requests_in_advance(tmp_path: Path) -> None:
    """A client that sends requests and does not read the responses would otherwise fill the memory."""
    storage = Storage(tmp_path / "firestore.sqlite")
    sent, is_waiting = 0, asyncio.Event()

    async def requests() -> AsyncIterator[Any]:
        nonlocal sent
        for sent in range(1, 101):
            yield m.ListenRequest(database=DATABASE, add_target=query("waiting", target_id=sent))

    async def respond(response: Any) -> None:
        is_waiting.set()
        await asyncio.Event().wait()

    listening = asyncio.create_task(ListenStream(ChangeFeed(storage), Turns(), respond, DATABASE).run(requests()))
    async with asyncio.timeout(60):
        await is_waiting.wait()
    for _ in range(1_000):
        await asyncio.sleep(0)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await storage.close()

    assert sent <= MAX_WAITING_REQUESTS + 2


async def test_named_documents_are_read_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target can name many documents of 1 MiB. A page ends when it exceeds 1 MiB."""
    storage = Storage(tmp_path / "firestore.sqlite")
    for each in "abd":
        write = m.Write(
            update=m.Document(name=f"{ROOT}/large/{each}", fields={"n": m.Value(bytes_value=bytes(900_000))})
        )
        prepared = [document_write.prepare(write, DATABASE)]
        await storage.write(partial(commits.commit, writes=prepared, check_conflicts=commits.no_conflicts))
    target = DocumentsTarget(1, DATABASE, [f"{ROOT}/large/{each}" for each in "abcde"])
    reads = count_reads(storage, monkeypatch)

    responses = [each async for each in target.current_state(storage, storage.snapshot().read_time)]

    existing = [each.document_change.document.name[-1:] for each in responses]
    assert existing == ["a", "b", "", "d", ""]
    assert len(reads) == 2
    await storage.close()
