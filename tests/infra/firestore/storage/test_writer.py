"""The writer frees the memory of each group. The end of its thread ends the server, and its supervisor restarts it."""

import asyncio
import gc
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.errors import StatusError, not_found
from infra.embedded.firestore.storage.commit_group import CommitGroup
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.writer import WriterEnded
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess
from tests.reported_errors import reported_errors


class ThreadEnd(BaseException):
    """An exception that no handler of the writer expects."""


def end_thread(group: CommitGroup) -> None:
    """Fail as a defect of the writer would."""
    del group
    raise ThreadEnd


async def test_writes_are_refused_after_the_writer_has_ended(tmp_path: Path) -> None:
    """Waiting and later writes get an error instead of waiting forever, and `failed` tells the owner."""
    storage = Storage(tmp_path / "firestore.sqlite")
    writes = [asyncio.create_task(storage.write(work)) for work in (end_thread, lambda group: None)]

    outcomes = await asyncio.gather(*writes, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StatusError, StatusError]
    with pytest.raises(WriterEnded, match="ThreadEnd"):
        await storage.failed
    with pytest.raises(StatusError, match="cannot write"):
        await storage.write(lambda group: None)
    await storage.close()


async def test_the_last_group_is_published_before_the_file_is_closed(tmp_path: Path) -> None:
    """Otherwise the log had a traceback about a closed database when a server or an import ended under load."""
    storage, is_closing = Storage(tmp_path / "firestore.sqlite"), threading.Event()
    write = asyncio.create_task(storage.write(lambda _: is_closing.wait()))
    await asyncio.sleep(0)
    closing = asyncio.create_task(storage.close())
    for _ in range(10):
        await asyncio.sleep(0)

    is_closing.set()
    [writer] = [thread for thread in threading.enumerate() if thread.name == "firestore-writer"]
    writer.join()  # meanwhile, the event loop cannot publish the group
    with reported_errors() as reported:
        await asyncio.gather(write, closing)

    assert reported == []


def test_a_server_whose_writer_has_ended_exits(own: FirestoreProcess, tmp_path: Path) -> None:
    """With exit code 1 and a line that says why."""
    program = tmp_path / "server_with_defect.py"
    program.write_text(
        "import asyncio, sys\n"
        "from infra.embedded.firestore import __main__ as server\n"
        "from tests.infra.firestore.storage.test_writer import end_thread\n"
        "open_storage = server.open_storage\n"
        "def open_defective(arguments):\n"
        "    storage = open_storage(arguments)\n"
        "    asyncio.get_running_loop().call_later(1, lambda: asyncio.ensure_future(storage.write(end_thread)))\n"
        "    return storage\n"
        "server.open_storage = open_defective\n"
        "sys.exit(server.main())\n"
    )
    own.program = ("-c", f"import runpy, sys; sys.path.insert(0, '.'); runpy.run_path({str(program)!r})")
    own.start()

    assert own.wait() == 1
    assert "the writer's thread stopped" in own.log.read_text().splitlines()[-1]


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Prevent garbage collections, which free objects that refer to each other."""
    gc.disable()
    yield
    gc.enable()


def refuse(group: CommitGroup, request: object = None) -> None:
    """Refuse a commit."""
    raise not_found("on purpose")


def refuse_in_batch(group: CommitGroup) -> None:
    """Refuse a write of a batch."""
    write = m.Write(update=m.Document(name=f"{ROOT}/t/missing"))
    write.current_document.exists = True
    [(_, error)] = commits.batch_write(group, [document_write.prepare(write, DATABASE)], commits.no_conflicts)
    assert error is not None


def full_disk() -> sqlite3.OperationalError:
    """Return the error of a full disk."""
    error = sqlite3.OperationalError("on purpose")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def fail(group: CommitGroup) -> None:
    """Fail as on a full disk."""
    raise full_disk()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("work", [refuse, refuse_in_batch, fail])
async def test_a_refused_write_does_not_keep_its_group_in_memory(
    tmp_path: Path, work: Callable[[CommitGroup], None]
) -> None:
    """The group has the documents of all requests. 20 groups of 7 MB each took 287 MiB until a garbage collection."""
    groups: list[weakref.ref[CommitGroup]] = []

    def observed(group: CommitGroup) -> None:
        groups.append(weakref.ref(group))
        work(group)

    storage = Storage(tmp_path / "firestore.sqlite")
    for _ in range(3):
        await asyncio.gather(storage.write(observed), storage.write(lambda group: None), return_exceptions=True)
    await storage.close()

    assert [group() for group in groups] == [None] * len(groups)
    assert len(groups) >= 3


class Request:
    """The request of a client."""


@pytest.mark.usefixtures("no_collection")
async def test_a_refused_write_does_not_keep_its_request_in_memory(tmp_path: Path) -> None:
    """A request has up to 10 MiB."""
    storage = Storage(tmp_path / "firestore.sqlite")

    async def submit() -> weakref.ref[Request]:
        request = Request()
        freed = weakref.ref(request)
        [refusal] = await asyncio.gather(storage.write(partial(refuse, request=request)), return_exceptions=True)
        assert isinstance(refusal, StatusError)
        return freed

    freed = await submit()
    await storage.close()

    assert freed() is None
