"""Lists of collection ids and of missing documents, after documents were deleted."""

import sqlite3
from functools import partial

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.pagination import child_segments
from infra.embedded.firestore.encoding.resource_names import ResourceName
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.server_process import DATABASE, ROOT

NAMES = [f"{ROOT}/a/{number:03}" for number in range(300)]


async def write(storage: Storage, *writes: m.Write) -> int:
    """Commit writes and return the commit time."""
    prepared = [document_write.prepare(each, DATABASE) for each in writes]
    work = partial(commits.commit, writes=prepared, check_conflicts=commits.no_conflicts)
    return m.microseconds((await storage.write(work)).commit_time)


async def listed(storage: Storage, segments: tuple[str, ...], read_time: int) -> tuple[list[str], int]:
    """Return the child segments at a read time, and the number of instructions that SQLite has executed."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def read(connection: sqlite3.Connection) -> list[str]:
        connection.set_progress_handler(count, 1)
        try:
            return child_segments(connection, storage.catalog, ResourceName(DATABASE, segments), None, 500, read_time)
        finally:
            connection.set_progress_handler(None, 0)

    return await storage.read(read), steps


async def test_deleted_documents_do_not_delay_a_list(storage: Storage) -> None:
    """Clients list collections while and after they delete them. The past versions stay for an hour."""
    created = await write(storage, *(m.Write(update=m.Document(name=name)) for name in (*NAMES, f"{ROOT}/b/x")))
    deleted = await write(storage, *(m.Write(delete=name) for name in NAMES[:-1]))

    before, _ = await listed(storage, ("a",), created)
    ids, id_steps = await listed(storage, ("a",), deleted)
    collections, collection_steps = await listed(storage, (), deleted)

    assert before == [name.rpartition("/")[2] for name in NAMES]
    assert ids == ["299"]
    assert collections == ["a", "b"]
    assert id_steps + collection_steps < 5_000


async def test_past_versions_do_not_delay_a_list_of_documents(storage: Storage) -> None:
    """A list reads each of the 1,140 past versions at most once, and not once for each document."""
    names = [f"{ROOT}/a/{number:03}/b/x" for number in range(60)]
    for version in range(20):
        fields = {"n": m.Value(integer_value=version)}
        time = await write(storage, *(m.Write(update=m.Document(name=name, fields=fields)) for name in names))

    ids, steps = await listed(storage, ("a",), time)

    assert ids == [f"{number:03}" for number in range(60)]
    assert steps < 20_000
