"""The changes that a target has missed when it resumes."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.listen import resume
from infra.embedded.firestore.listen.targets import DocumentsTarget
from infra.embedded.firestore.storage.clock import Snapshot
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from infra.embedded.firestore.writes.pruning import prune
from tests.infra.firestore.server_process import DATABASE, ROOT

NAMES = [f"{ROOT}/missed/{each}" for each in "abc"]
TARGET = DocumentsTarget(1, DATABASE, NAMES)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """A new file that retains no earlier versions after a pruning."""
    storage = Storage(tmp_path / "firestore.sqlite", version_retention_seconds=0)
    yield storage
    await storage.close()


async def write_each(storage: Storage) -> list[Snapshot]:
    """Write the documents one after another. Return the position after each commit."""
    positions = []
    for name in NAMES:
        written = [document_write.prepare(m.Write(update=m.Document(name=name)), DATABASE)]
        await storage.write(partial(commits.commit, writes=written, check_conflicts=commits.no_conflicts))
        positions.append(storage.snapshot())
    return positions


async def test_a_change_after_the_latest_position_is_left_out(storage: Storage) -> None:
    """It belongs to a later snapshot, which the stream sends afterwards."""
    first, second, _ = await write_each(storage)

    changes = await resume.missed_changes(storage, TARGET, first, second)

    assert changes is not None
    assert [change.full_name for change in changes] == NAMES[1:2]


async def test_a_target_starts_again_if_the_missed_changes_need_too_much_memory(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of changes is small, but their documents can be large."""
    first, _, last = await write_each(storage)
    monkeypatch.setattr(resume, "MAX_MISSED_BYTES", 10)

    assert await resume.missed_changes(storage, TARGET, first, last) is None


async def test_a_target_resumes_at_the_last_pruned_change(storage: Storage) -> None:
    """Its client has this change, and all later changes are readable."""
    *_, last = await write_each(storage)
    await prune(storage)
    target = m.ListenRequest().add_target
    target.resume_token = resume.encode_token(storage, last)

    assert storage.pruned_sequence == last.sequence
    assert await resume.resume_position(storage, target, last) == last
