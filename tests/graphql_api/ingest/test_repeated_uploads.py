"""A sample is submitted again while it is deleted, or after it has expired.

Each acknowledged sample is stored with its chunks. Chunks that no sample uses are removed.
"""

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from graphql_api.results.deletion.deleter import Deleter
from graphql_api.results.deletion.deletion import DeletionState
from graphql_api.results.deletion.deletion_store import DeletionStore
from storage.documents import Conflict, Header, RateLimited, Unavailable
from storage.firestore import encoding
from storage.firestore.retriggering import trigger_again
from tests.graphql_api.ingest.conftest import LARGE, SMALL, SUBMITTER, Api, before

OTHER = b'{"time_stamp": "2019-05-02T06:00:00Z", "data": [2]}'


async def test_a_sample_that_is_deleted_during_its_upload_is_stored_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion of the earlier sample removes the chunks of this sample only."""
    first = await api.submit(LARGE)
    before(monkeypatch, api.receiver, "_store", lambda *_: api.delete(first))

    again = await api.submit(LARGE)

    assert again.id == first.id
    _, raw = await api.store.raw(SUBMITTER, again.id)
    assert raw == LARGE
    await api.wait_for_chunks(again)


@pytest.mark.parametrize(("method", "is_stored"), [("_commit", False), ("_delete", True)])
async def test_a_sample_that_is_uploaded_during_its_deletion_leaves_no_unused_chunks(
    api: Api, monkeypatch: pytest.MonkeyPatch, method: str, is_stored: bool
) -> None:
    """Before the Commit of the deletion, the upload is a repetition. Afterwards, it stores a new sample."""
    first = await api.submit(LARGE)
    before(monkeypatch, api.deletions, method, lambda *_: api.submit(LARGE))

    assert await api.delete(first) == 1

    headers = await api.headers()
    assert bool(headers) == is_stored
    await api.wait_for_chunks(headers.get(first.id))


@pytest.mark.parametrize("error", [Unavailable("Firestore restarts"), RateLimited("too many writes")])
async def test_a_deletion_whose_chunks_cannot_be_removed_succeeds(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The sample is deleted and can be submitted again. A sweep removes the chunks."""
    first = await api.submit(LARGE)
    with monkeypatch.context() as patch:
        patch.setattr(api.deletions, "_delete", Mock(side_effect=error))
        assert await api.delete(first) == 1
    assert await api.headers() == {}

    again = await api.submit(LARGE)
    await api.uploads.sweep(timedelta(0))

    await api.wait_for_chunks(again)


async def test_a_sample_that_is_submitted_after_a_deletion_is_not_deleted(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deletions of the same sample run at the same time. After one of them, the sample is submitted again."""
    first = await api.submit(SMALL)
    faster = DeletionStore(api.firestore, api.writer)

    async def delete_and_submit(*_: Any) -> None:
        assert await faster.delete(SUBMITTER, [first.id], "wrong") == (1, set())
        await api.submit(OTHER)

    before(monkeypatch, api.deletions, "_commit", delete_and_submit)

    assert await api.delete(first) == 0
    (stored,) = (await api.headers()).values()
    assert stored.sha256 != first.sha256


async def test_a_deletion_without_all_of_its_samples_is_not_finished(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that changes before each attempt remains. The other sample is deleted and counted."""
    first = await api.submit(SMALL)
    other = await api.submit(OTHER, "other key")
    deleter = Deleter(api.store, api.deletions)
    entry = encoding.to_write(api.firestore.name("submitters/station/audit/entry"), {})
    commit = api.firestore.commit

    async def touch_before(writes: list[Any]) -> Any:
        await trigger_again(api.firestore, api.writer, SUBMITTER, [first.id])
        return await commit(writes)

    monkeypatch.setattr(api.firestore, "commit", touch_before)

    with pytest.raises(Unavailable, match="changed the sample during every attempt"):
        await deleter.delete_one(SUBMITTER, first.id, "wrong", entry)
    started = await deleter.delete_ids(SUBMITTER, [first.id, other.id], "wrong", lambda _: entry)
    await asyncio.gather(*deleter._runner._running.values())

    ended = await deleter.get(SUBMITTER, started.id)
    assert ended is not None
    assert (ended.state, ended.deleted) == (DeletionState.INTERRUPTED, 1)
    assert list(await api.headers()) == [first.id]


@pytest.mark.parametrize("raw", [SMALL, OTHER, LARGE], ids=["small", "other", "large"])
async def test_the_key_of_an_expired_sample_can_be_used_again(api: Api, raw: bytes) -> None:
    """Firestore may delete the expired sample a day later."""
    first = await api.submit(LARGE if raw == LARGE else SMALL)
    await api.expire(first)

    again = await api.submit(raw)
    repeated = await api.submit(raw)

    (stored,) = (await api.headers()).values()
    assert (stored.submitted_at, stored.expire_at) == (again.submitted_at, None)
    assert again.submitted_at is not None
    assert first.submitted_at is not None
    assert again.submitted_at > first.submitted_at
    assert repeated.submitted_at == again.submitted_at
    assert (await api.store.raw(SUBMITTER, again.id))[1] == raw


async def test_a_sample_that_replaces_an_expired_sample_is_not_deleted_with_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expired sample is deleted at the same time. The new header replaces its header before that is deleted."""
    first = await api.submit(SMALL)
    await api.expire(first)
    before(monkeypatch, api.deletions, "_commit", lambda *_: api.submit(OTHER))

    await api.delete(first)

    (stored,) = (await api.headers()).values()
    assert (await api.store.raw(SUBMITTER, stored.id))[1] == OTHER


async def test_only_one_of_two_samples_replaces_an_expired_sample(api: Api) -> None:
    """Both have the key of the expired sample. The other one is refused, and its client sends it again."""
    await api.expire(await api.submit(SMALL))

    outcomes = await asyncio.gather(*(api.submit(raw) for raw in (SMALL, OTHER)), return_exceptions=True)

    (stored,) = (await api.headers()).values()
    kept = [outcome for outcome in outcomes if isinstance(outcome, Header)]
    assert [header.sha256 for header in kept] == [stored.sha256]
    assert all(isinstance(outcome, Header | Unavailable | Conflict) for outcome in outcomes)


async def test_a_sample_that_has_replaced_an_expired_sample_is_not_replaced(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is acknowledged after the other request has found the expired sample, and before that request writes."""
    await api.expire(await api.submit(SMALL))
    before(monkeypatch, api.receiver._repeated, "_replace_expired", lambda *_: api.submit(OTHER))

    with pytest.raises(Unavailable):
        await api.submit(SMALL)

    (stored,) = (await api.headers()).values()
    assert (await api.store.raw(SUBMITTER, stored.id))[1] == OTHER


async def test_an_expired_sample_is_not_triggered_again(api: Api) -> None:
    """Its chunks may be deleted already, so it could only fail."""
    header = await api.submit(LARGE)

    before_expiry = await trigger_again(api.firestore, api.writer, SUBMITTER, [header.id])
    await api.expire(header)

    assert list(before_expiry) == [header.id]
    assert await trigger_again(api.firestore, api.writer, SUBMITTER, [header.id]) == {}
