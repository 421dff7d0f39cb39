"""The index builder: a request that waits for an index gets it only when it is complete."""

from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.indexes import index_builds
from infra.embedded.firestore.indexes.definitions import ASCENDING, COLLECTION, CompositeIndex, IndexField
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.server_process import DATABASE, ROOT


def index(*fields: str) -> CompositeIndex:
    """Return an index of the collection `t`."""
    return CompositeIndex("t", COLLECTION, tuple(IndexField((field,), ASCENDING) for field in fields))


async def test_an_index_is_complete_although_another_one_was_added_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build then starts again. The request continued before the second build."""
    advance = index_builds.advance
    is_added = False

    def advance_and_add(connection: Any, catalog: Any, registry: Any, *arguments: Any) -> Any:
        nonlocal is_added
        step = advance(connection, catalog, registry, *arguments)
        if step is None and not is_added:
            is_added = True
            index_builds.add_index(connection, catalog, registry, index("b", "a"))
        return step

    monkeypatch.setattr(index_builds, "advance", advance_and_add)
    storage = Storage(tmp_path / "firestore.sqlite")
    write = document_write.prepare(m.Write(update=m.Document(name=f"{ROOT}/t/1")), DATABASE)
    await storage.write(lambda group: commits.commit(group, [write], commits.no_conflicts))

    await storage.create_index(index("a", "b"))
    complete = await storage.read(lambda connection: connection.execute("SELECT complete FROM composites").fetchall())
    await storage.close()

    assert is_added
    assert complete == [(1,), (1,)]
