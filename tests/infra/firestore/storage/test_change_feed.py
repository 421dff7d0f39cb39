"""The moments that streams are told of, between commits and while one is published."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.storage.change_feed import ChangeFeed
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.server_process import DATABASE, ROOT


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """A new file."""
    storage = Storage(tmp_path / "firestore.sqlite")
    yield storage
    await storage.close()


async def test_the_position_goes_back_to_no_earlier_moment(storage: Storage) -> None:
    """A commit can be seen already that streams do not know of yet; Google promises read times that only rise."""
    feed = ChangeFeed(storage)
    told = feed.position
    write = document_write.prepare(m.Write(update=m.Document(name=f"{ROOT}/a/b")), DATABASE)
    work = partial(commits.commit, writes=[write], check_conflicts=commits.no_conflicts)

    committing = asyncio.create_task(storage.write(work))
    await asyncio.sleep(0)  # it is on its way to the writer's thread; from here on nothing else gets a turn
    while storage.snapshot().sequence == told.sequence:
        pass
    meanwhile = feed.position
    await committing
    after = feed.position

    assert [meanwhile.sequence, after.sequence] == [told.sequence, told.sequence + 1]
    assert told.read_time <= meanwhile.read_time <= after.read_time
