"""`archive restore` replaces a data file by a backup, also after it was interrupted, and never a file in use."""

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded.firestore.data_file import restore
from infra.embedded.firestore.data_file.data_marker import DataMarker
from infra.embedded.firestore.data_file.file_format import UnusableFile
from infra.embedded.firestore.data_file.lock_file import StorageInUse
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.firestore.data_file.data_files import (
    archive,
    empty,
    end_restore,
    halve,
    log_of,
    overwrite,
    refusal,
    use,
    write,
)
from tests.infra.firestore.server_process import FirestoreProcess


@pytest.mark.parametrize("is_backup", [True, False])
def test_an_older_copy_next_to_a_newer_log_is_refused(own: FirestoreProcess, ended: Path, is_backup: bool) -> None:
    """SQLite would apply the log to it and destroy it. `restore` moves file and log aside."""
    copy = own.data.with_name("copy.sqlite")
    use(own, ended)
    if is_backup:
        archive("backup", "--data", own.data, "--output", copy)
    else:
        shutil.copy(own.data, copy)
    for first in (1000, 2000):
        own.start()
        write(own, first, 300)
        own.end(signal.SIGTERM if first == 1000 else signal.SIGKILL)
    log = log_of(own.data).read_bytes()
    shutil.copy(copy, own.data)

    line = refusal(own)

    assert "belong" in line or "ends at change" in line
    assert log_of(own.data).read_bytes() == log, "the log is kept for a repair"
    message = archive("restore", copy, "--data", own.data)
    own.start()
    assert len(list(own.client().collection("t").stream())) == 60
    former = Path(message.rpartition("the former file is ")[2].strip())
    assert log_of(former).read_bytes() == log


def test_commands_that_show_events_change_neither_an_older_copy_nor_the_log(own: FirestoreProcess, ended: Path) -> None:
    """A connection that may write applies the log to the copy when it is closed. Both could then not be repaired."""
    copy = own.data.with_name("copy.sqlite")
    use(own, ended)
    shutil.copy(own.data, copy)
    for first, count in ((1000, 20), (2000, 60)):
        own.start()
        write(own, first, count)
        own.end(signal.SIGTERM if first == 1000 else signal.SIGKILL)
    shutil.copy(copy, own.data)
    before = own.data.read_bytes(), log_of(own.data).read_bytes()

    for command in (["status"], ["undelivered"], ["dead-letters", "list"]):
        subprocess.run([sys.executable, "-m", "infra.embedded.eventarc", *command, "--data", own.data], check=True)

    assert (own.data.read_bytes(), log_of(own.data).read_bytes()) == before


def test_an_older_copy_in_place_of_the_file_is_refused_until_it_is_restored(own: FirestoreProcess, ended: Path) -> None:
    """The marker has a later change."""
    copy = own.data.with_name("copy.sqlite")
    use(own, ended)
    own.start()
    archive("backup", "--data", own.data, "--output", copy)
    write(own, 100)
    own.end()
    shutil.copy(copy, own.data)

    assert "ends at change 60, but change 120 was committed" in refusal(own)
    archive("restore", copy, "--data", own.data)

    own.start()
    write(own, 200)


def test_a_restore_that_was_interrupted_does_not_start_empty(own: FirestoreProcess, ended: Path) -> None:
    """The marker stays until the end, so the next start names the command to repeat."""
    backup = own.data.with_name("backup.sqlite")
    use(own, ended)
    archive("backup", "--data", own.data, "--output", backup)
    own.data.rename(own.data.with_name("moved-by-an-interrupted-restore"))
    own.data.with_name("firestore.sqlite.restored").write_bytes(b"unfinished")

    assert "is missing" in refusal(own)
    archive("restore", backup, "--data", own.data)

    own.start()
    assert len(list(own.client().collection("t").stream())) == 60


@pytest.mark.parametrize("renamed", [1, 2, 3, 4])
def test_a_restore_that_ended_after_any_step_is_refused_until_it_is_repeated(
    own: FirestoreProcess, killed: Path, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    """Also if the marker is damaged: the file without its log would otherwise start, and lack acknowledged writes.

    The former file keeps its log, also if the restore ended between the renames of both.
    """
    use(own, killed)
    log = log_of(own.data).read_bytes()
    backup = own.data.with_name("backup.sqlite")
    own.data.with_name("firestore.sqlite.marker").write_text("damaged")
    end_restore(backup, own.data, renamed, monkeypatch)

    refusal(own)
    message = archive("restore", backup, "--data", own.data)
    former = Path(message.rpartition("the former file is ")[2].strip())
    assert log_of(former).read_bytes() == log
    own.start()
    assert len(list(own.client().collection("t").stream())) == 120


@pytest.mark.parametrize(("renamed", "documents"), [(2, 120), (3, 120), (4, 60)])
def test_after_a_restore_that_was_interrupted_the_present_content_can_be_accepted(
    own: FirestoreProcess, killed: Path, ended: Path, monkeypatch: pytest.MonkeyPatch, renamed: int, documents: int
) -> None:
    """It is the former file with its log, until the backup is installed. The log was left out, and its writes lost."""
    use(own, killed)
    end_restore(ended / own.data.name, own.data, renamed, monkeypatch)
    refusal(own)

    archive("accept-loss", "--data", own.data)

    own.start()
    assert len(list(own.client().collection("t").stream())) == documents


def test_a_start_deletes_the_copy_of_a_restore_that_was_killed(own: FirestoreProcess, ended: Path) -> None:
    """It stayed on the disk until the next restore, with the size of the backup."""
    use(own, ended)
    for name in ("firestore.sqlite.restored", "firestore.sqlite.restored-journal"):
        own.data.with_name(name).write_bytes(b"unfinished")

    own.start()

    assert not list(own.data.parent.glob("*.restored*"))
    assert len(list(own.client().collection("t").stream())) == 60


def test_a_disk_without_space_for_the_copy_is_not_a_fault_of_the_backup(own: FirestoreProcess, ended: Path) -> None:
    """The message was to use another backup. Nothing changes, so the server can start."""
    backup = own.data.with_name("backup.sqlite")
    use(own, ended)
    archive("backup", "--data", own.data, "--output", backup)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limit[1]))
        message = archive("restore", backup, "--data", own.data, code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)

    assert message.startswith(f"the backup {backup} cannot be copied to {own.data}.restored: ")
    assert "another backup" not in message
    own.start()


def test_two_restores_within_a_second_keep_both_former_files(own: FirestoreProcess, ended: Path) -> None:
    """The second one does not replace the file that the first one has moved aside."""
    use(own, ended)
    backup = own.data.with_name("backup.sqlite")
    archive("backup", "--data", own.data, "--output", backup)

    former = {restore.restore(backup, own.data) for _ in range(10)}

    assert len(former) == 10


@pytest.mark.parametrize("damage", [empty, halve, overwrite])
def test_a_damaged_backup_is_not_restored(own: FirestoreProcess, ended: Path, damage: Callable[[Path], None]) -> None:
    """The present file stays."""
    backup = own.data.with_name("backup.sqlite")
    use(own, ended)
    archive("backup", "--data", own.data, "--output", backup)
    damage(backup)

    assert "the backup" in archive("restore", backup, "--data", own.data, code=1)

    assert not own.data.with_name("firestore.sqlite.restored").exists()
    own.start()
    assert len(list(own.client().collection("t").stream())) == 60


def test_a_running_server_prevents_a_restore(own: FirestoreProcess, ended: Path) -> None:
    """And accepting a loss."""
    use(own, ended)
    own.start()
    backup = own.data.with_name("backup.sqlite")
    archive("backup", "--data", own.data, "--output", backup)

    assert "is in use by another process" in archive("restore", backup, "--data", own.data, code=1)
    assert "is in use by another process" in archive("accept-loss", "--data", own.data, code=1)


async def test_a_link_does_not_hide_that_a_file_is_in_use(tmp_path: Path) -> None:
    """A copy of a data folder with `cp -a` contains the same link. Two servers then used one file."""
    link = tmp_path / "copy" / "firestore.sqlite"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "firestore.sqlite")
    storage = Storage(tmp_path / "firestore.sqlite")

    with pytest.raises(StorageInUse):
        Storage(link)
    with pytest.raises(StorageInUse):
        restore.accept_loss(link)
    await storage.close()


async def test_a_link_to_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Its disk may not be mounted. New commits would be stored in the empty folder of the mount point."""
    link = tmp_path / "firestore.sqlite"
    link.symlink_to(tmp_path / "disk" / "firestore.sqlite")
    (tmp_path / "disk").mkdir()

    with pytest.raises(UnusableFile, match="mount its disk"):
        Storage(link)

    link.readlink().touch()
    await Storage(link).close()
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(UnusableFile, match="which does not exist"):
        Storage(link)


def test_the_marker_of_an_earlier_release_beside_a_link_counts(
    own: FirestoreProcess, ended: Path, tmp_path: Path
) -> None:
    """It says that the file had data."""
    link = tmp_path / "link.sqlite"
    use(own, ended)
    link.symlink_to(own.data)
    DataMarker(own.data).path.replace(DataMarker(link).path)
    empty(own.data)

    with pytest.raises(UnusableFile, match="had data"):
        Storage(link)
    assert DataMarker(own.data).exists()
    assert not DataMarker(link).exists()


def test_a_restore_replaces_the_file_that_a_link_names(own: FirestoreProcess, ended: Path, tmp_path: Path) -> None:
    """The link can lead to a larger disk."""
    copy, link = own.data.with_name("copy.sqlite"), tmp_path / "link.sqlite"
    use(own, ended)
    archive("backup", "--data", own.data, "--output", copy)
    link.symlink_to(own.data)

    message = archive("restore", copy, "--data", link)

    assert link.readlink() == own.data
    assert str(own.data.resolve()) in message
    own.start()
    assert len(list(own.client().collection("t").stream())) == 60


@pytest.mark.parametrize("is_backup", [True, False])
def test_nothing_is_written_beside_a_backup(
    own: FirestoreProcess, ended: Path, tmp_path: Path, is_backup: bool
) -> None:
    """It can be on a read-only disk. `restore` said that the backup cannot be read, and advised to use another."""
    use(own, ended)
    copy = tmp_path / "backups" / "copy.sqlite"
    copy.parent.mkdir()
    if is_backup:
        archive("backup", "--data", own.data, "--output", copy)
        archive("check", "--data", copy)
    else:
        shutil.copy(own.data, copy)

    archive("restore", copy, "--data", own.data)

    assert list(copy.parent.iterdir()) == [copy]
