"""A process is suspended during the upload of a large sample. Meanwhile, another process removes the chunks."""

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from storage.documents import Unavailable
from tests.graphql_api.ingest.conftest import LARGE, SMALL, SUBMITTER, Api, before


@pytest.mark.parametrize("is_correction", [False, True])
async def test_a_sample_whose_upload_was_swept_is_not_stored(
    api: Api, monkeypatch: pytest.MonkeyPatch, is_correction: bool
) -> None:
    """The process was suspended before it stored the header, so the chunks do not exist. The client sends it again."""
    earlier = (await api.submit(SMALL, "earlier")).id if is_correction else None
    before(monkeypatch, api.receiver, "_store", lambda *_: api.uploads.sweep(timedelta(0)))

    with pytest.raises(Unavailable):
        await api.submit(LARGE, supersedes=earlier)
    assert await api.headers() == {}

    again = await api.submit(LARGE, supersedes=earlier)
    assert (await api.store.raw(SUBMITTER, again.id))[1] == LARGE


async def test_a_header_is_not_stored_after_the_removal_of_its_chunks_was_interrupted(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of the chunks can be removed already. The next sweep removes the other chunks."""

    async def interrupt(*_: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(api.writer, "write", Mock(side_effect=Unavailable("Firestore restarts")))
            with pytest.raises(Unavailable):
                await api.uploads.sweep(timedelta(0))

    before(monkeypatch, api.receiver, "_store", interrupt)

    with pytest.raises(Unavailable, match="interrupted"):
        await api.submit(LARGE)

    assert await api.headers() == {}
    await api.uploads.sweep(timedelta(0))
    assert await api.names("chunks") == await api.names("uploads") == []
