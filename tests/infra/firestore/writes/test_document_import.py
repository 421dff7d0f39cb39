"""An import restores documents with their times, and lets triggers receive them."""

import asyncio
import io
import json
import os
import signal
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.archive import ArchiveError, export_documents, import_lines
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.storage import change_consumers, clock
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from infra.embedded.firestore.writes.document_import import ImportRefused, import_documents
from tests.infra.firestore.server_process import DATABASE, ROOT
from tests.stack import PATIENCE_SECONDS, eventually

KILLED_IMPORT = """
import os, signal, sys
from infra.embedded.firestore import archive
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import document_import

write = Storage.write

async def write_once(storage, work):
    await write(storage, work)
    os.kill(os.getpid(), signal.SIGKILL)

document_import.MAX_BATCH_DOCUMENTS = 1
Storage.write = write_once
archive.main()
"""
"""A program that imports the first document, and is then killed."""

KILLED_AT_THE_END = """
import os, signal
from infra.embedded.firestore import archive
from infra.embedded.firestore.data_file import restore

restore._mark = lambda path, marker: os.kill(os.getpid(), signal.SIGKILL)
archive.main()
"""
"""A program that is killed after the complete file has got its name."""


def line(document_id: str, **times: str) -> dict[str, Any]:
    """Return an exported document."""
    return {"name": f"{ROOT}/a/{document_id}", "fields": {"n": {"integerValue": "1"}}, **times}


def lines(*documents: Any) -> io.StringIO:
    """Return documents as JSON lines."""
    return io.StringIO("".join(f"{json.dumps(document)}\n" for document in documents))


async def stored(storage: Storage) -> list[Any]:
    """Return all documents in the order of their commits."""
    changes = await storage.changes(0, 1000)
    assert [change.commit_time for change in changes] == sorted(change.commit_time for change in changes)
    return [m.Document.FromString(change.new or b"") for change in changes]


async def test_documents_keep_their_times_and_their_order(storage: Storage) -> None:
    """Also if the lines are in another order. Later commits have later times."""
    early = {"createTime": "2020-01-01T00:00:00Z", "updateTime": "2020-01-02T00:00:00.123456Z"}
    late = {"createTime": "2019-01-01T00:00:00Z", "updateTime": "2021-01-02T00:00:00Z"}

    count = await import_documents(lines(line("late", **late), line("early", **early), line("other", **early)), storage)

    documents = await stored(storage)
    assert count == 3
    assert [document.name.rpartition("/")[2] for document in documents] == ["early", "other", "late"]
    assert [document.update_time.ToJsonString() for document in documents] == [
        early["updateTime"],
        early["updateTime"],
        late["updateTime"],
    ]
    assert documents[2].create_time.ToJsonString() == late["createTime"]
    assert storage.snapshot().read_time > m.microseconds(documents[2].update_time)


async def test_a_time_that_is_missing_or_in_the_future_becomes_the_time_of_the_import(storage: Storage) -> None:
    """A time far in the future would be the lower limit of all later commit times."""
    before = storage.snapshot().read_time

    await import_documents(lines(line("new"), line("future", updateTime="2999-01-01T00:00:00Z")), storage)

    documents = await stored(storage)
    assert len(documents) == 2
    for document in documents:
        assert before <= m.microseconds(document.update_time) <= storage.snapshot().read_time
        assert document.create_time == document.update_time


async def test_nothing_is_imported_if_a_line_is_invalid(storage: Storage) -> None:
    """The error names the line."""
    with pytest.raises(ImportRefused, match="line 2"):
        await import_documents(lines(line("one"), {"name": "nonsense"}), storage)

    assert await stored(storage) == []


async def test_an_input_without_documents_is_refused(tmp_path: Path) -> None:
    """An export that fails leaves an empty file. The command said that it had imported 0 documents."""
    with pytest.raises(ImportRefused, match="the input has no documents"):
        await import_lines(lines(), tmp_path / "firestore.sqlite", Definitions())

    assert not (tmp_path / "firestore.sqlite").exists()


async def test_a_document_in_two_lines_is_refused(storage: Storage) -> None:
    """The later line won, or the import failed without the number of a line."""
    with pytest.raises(ImportRefused, match=r"line 3: an earlier line has the document .*/a/one too"):
        await import_documents(lines(line("one"), line("two"), line("one", updateTime="2020-01-01T00:00:00Z")), storage)

    assert await stored(storage) == []


async def test_a_file_with_documents_is_refused(storage: Storage) -> None:
    """Imported documents would get times before those that its readers have already seen."""
    await import_documents(lines(line("one")), storage)

    with pytest.raises(ImportRefused, match="already contains documents: import into a new file"):
        await import_documents(lines(line("two")), storage)


async def test_an_import_that_was_killed_is_repeated(tmp_path: Path) -> None:
    """It leaves no part of the documents. A server would otherwise serve this part as if it was complete."""
    path, documents = tmp_path / "firestore.sqlite", [line("one"), line("two")]
    command = [sys.executable, "-c", KILLED_IMPORT, "import", "--data", str(path)]

    killed = await asyncio.to_thread(subprocess.run, command, input=lines(*documents).read(), text=True, check=False)
    is_missing = not path.exists()
    await import_lines(lines(*documents), path, Definitions())

    assert (killed.returncode, is_missing) == (-signal.SIGKILL, True)
    assert {each.name for each in tmp_path.iterdir()} == {path.name, f"{path.name}.lock", f"{path.name}.marker"}
    storage = Storage(path)
    assert len(await stored(storage)) == 2
    await storage.close()


async def test_a_start_after_a_killed_import_says_that_nothing_was_imported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The files of the import used the disk forever, and nothing said what to do."""
    path = tmp_path / "firestore.sqlite"
    command = [sys.executable, "-c", KILLED_IMPORT, "import", "--data", str(path)]
    await asyncio.to_thread(subprocess.run, command, input=lines(line("one")).read(), text=True, check=False)
    left = [each.name for each in tmp_path.iterdir() if each.is_dir()]

    storage = Storage(path)
    await storage.close()

    assert left == ["firestore.sqlite.unfinished-import"]
    assert not [each for each in tmp_path.iterdir() if each.is_dir()]
    assert f"An import into {path} was killed, and has imported nothing" in caplog.text


async def test_only_the_owner_can_read_an_imported_file(tmp_path: Path) -> None:
    """As with a backup. The file contains the documents of all submitters."""
    data, before = tmp_path / "firestore.sqlite", os.umask(0o022)
    try:
        await import_lines(lines(line("one")), data, Definitions())
    finally:
        os.umask(before)

    assert stat.S_IMODE(data.stat().st_mode) == 0o600


async def test_an_import_deletes_no_file_with_a_similar_name(tmp_path: Path) -> None:
    """It deleted its own input, because the name began like those of its unfinished files."""
    source = tmp_path / "firestore.sqlite.imported.jsonl"
    source.write_text(lines(line("one")).read())
    folder = tmp_path / "firestore.sqlite.imported"
    folder.mkdir()

    with source.open() as text:
        await import_lines(text, tmp_path / "firestore.sqlite", Definitions())

    assert source.exists()
    assert folder.exists()


async def test_an_import_that_was_killed_at_its_end_is_complete(tmp_path: Path) -> None:
    """The server starts with all documents. The marker did not exist before, so it can be missing."""
    path = tmp_path / "firestore.sqlite"
    command = [sys.executable, "-c", KILLED_AT_THE_END, "import", "--data", str(path)]
    text = lines(line("one"), line("two")).read()

    killed = await asyncio.to_thread(subprocess.run, command, input=text, text=True, check=False)

    assert killed.returncode == -signal.SIGKILL
    storage = Storage(path)
    assert len(await stored(storage)) == 2
    await storage.close()


async def test_an_import_fails_if_its_log_cannot_be_written_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite ignores this error when it closes a file. The renamed file would lack the documents in its log."""
    path = tmp_path / "firestore.sqlite"
    close = Storage.close

    async def close_on_full_disk(storage: Storage) -> None:
        await close(storage)
        storage.path.with_name(storage.path.name + "-wal").write_text("documents")

    monkeypatch.setattr(Storage, "close", close_on_full_disk)

    with pytest.raises(ArchiveError, match="Does the disk have free space"):
        await import_lines(lines(line("one")), path, Definitions())

    assert [each.name for each in tmp_path.iterdir()] == [f"{path.name}.lock"]


async def test_a_refused_import_does_not_change_the_indexes_of_the_file(tmp_path: Path) -> None:
    """The command has the definitions of its options, and not those of the server: it started to delete the indexes."""
    path = tmp_path / "firestore.sqlite"
    storage = Storage(path, definitions=definitions.read(Path("infra/gcp/firestore.indexes.json")))
    await import_documents(lines(line("one")), storage)
    await storage.close()
    content = path.read_bytes()

    with pytest.raises(ImportRefused, match="already contains documents: import into a new file"):
        await import_lines(lines(line("two")), path, Definitions())

    assert path.read_bytes() == content


async def test_consumers_that_register_after_an_import_start_before_it(storage: Storage) -> None:
    """Those of the first start do. Later ones start at the last change, as in a file without an import."""
    await import_documents(lines(line("one"), line("two")), storage)

    async def register(name: str) -> int:
        return await storage.execute(lambda connection: change_consumers.register(connection, name, 2))

    first = await register("first")
    await storage.execute(change_consumers.end_import)

    assert (first, await register("first"), await register("second")) == (0, 0, 2)


def test_an_import_ends_at_the_first_ctrl_c(tmp_path: Path) -> None:
    """It ignored Ctrl-C while it read its input, and the second Ctrl-C printed a traceback. It leaves no documents."""
    path = tmp_path / "firestore.sqlite"
    command = [sys.executable, "-m", "infra.embedded.firestore.archive", "import", "--data", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        eventually(lambda: list(tmp_path.glob("*/*/documents")), str)  # created immediately before the input is read

        running.send_signal(signal.SIGINT)

        code = running.wait(PATIENCE_SECONDS)
        assert running.stderr is not None
        assert (code, running.stderr.read()) == (130, "interrupted\n")
    assert {each.name for each in tmp_path.iterdir()} == {f"{path.name}.lock"}


async def test_an_import_repairs_the_commit_times_of_a_wrong_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be ahead of the clock for years."""
    wrong = clock.now() + 10 * 365 * 86_400 * 1_000_000
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: wrong)
        ahead = Storage(tmp_path / "ahead.sqlite")
        write = document_write.prepare(m.Write(update=m.Document(name=f"{ROOT}/a/b")), DATABASE)
        await ahead.write(partial(commits.commit, writes=[write], check_conflicts=commits.no_conflicts))
        await ahead.close()
    exported = io.StringIO()
    export_documents(tmp_path / "ahead.sqlite", exported)
    exported.seek(0)

    await import_lines(exported, tmp_path / "new.sqlite", Definitions())

    seconds = []
    for name in ("ahead.sqlite", "new.sqlite"):
        storage = Storage(tmp_path / name)
        seconds.append(storage.clock.seconds_ahead)
        await storage.close()
    assert seconds[0] > 9 * 365 * 86_400
    assert seconds[1] == 0
