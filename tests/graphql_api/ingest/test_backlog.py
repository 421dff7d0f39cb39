"""Samples without results count towards the backlog of their submitter, until results are there."""

import asyncio
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import grpc
import pytest

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.ingest import backlog as backlog_module
from graphql_api.ingest.backlog import Backlog
from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import DamagedData
from storage.firestore.messages import Document
from tests.graphql_api.ingest.conftest import LARGE, SUBMITTER, Api
from tests.received import received_sample
from tests.stack import Stack, eventually, suspended

SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}'
MAX_PENDING = 5


@pytest.fixture(scope="module")
def limited_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a low limit of samples without results."""
    settings = {"DROPZONE_MAX_PENDING_SAMPLES_PER_SUBMITTER": str(MAX_PENDING)}
    with Stack(tmp_path_factory.mktemp("backlog"), **settings) as stack:
        yield stack


def test_a_submitter_with_a_full_backlog_is_refused_until_results_are_there(limited_stack: Stack) -> None:
    """Other submitters are not affected, and invalid samples do not count."""
    other = limited_stack.new_key("beside")
    with suspended(limited_stack.function_pid()):
        for _ in range(MAX_PENDING):
            assert limited_stack.post_sample(b"{}").status_code == 422
            assert limited_stack.post_sample(SAMPLE).status_code == 201

        refused = limited_stack.post_sample(SAMPLE)

        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["extensions"]["limit"] == "max_pending_samples_per_submitter"
        assert limited_stack.post_sample(SAMPLE, x_api_key=other).status_code == 201

    eventually(lambda: limited_stack.post_sample(SAMPLE).status_code == 201)
    for _ in range(3 * MAX_PENDING):  # the backlog shrinks as results arrive
        eventually(lambda: limited_stack.post_sample(SAMPLE).status_code == 201)


async def test_samples_that_never_get_a_result_leave_the_backlog(api: Api) -> None:
    """Otherwise, their submitter could not submit any sample until the API is restarted."""
    budgets = Budgets(Limits(max_pending_samples_per_submitter=4))
    pending, backlog = budgets.submitter(SUBMITTER).pending_samples, Backlog(api.firestore, budgets)
    headers = [await api.submit(SAMPLE, key=f"key {number}") for number in range(4)]
    backlog.add(SUBMITTER, headers)
    own = backlog._submitters[SUBMITTER]

    used = []
    for change in (
        None,
        api.expire(headers[0]),
        api.expire(headers[1]),
        api.erase(headers[3]),
        api.delete(headers[2]),
    ):
        if change is not None:
            await change
        await backlog._check(SUBMITTER, own)
        used.append(pending.used)

    assert used == [4, 3, 2, 2, 0]
    await backlog.close()


async def test_deleting_the_newest_sample_does_not_hide_the_samples_before_it(api: Api) -> None:
    """Otherwise, a client that deletes one sample now and then could store samples without a limit."""
    budgets = Budgets(Limits(max_pending_samples_per_submitter=4))
    pending, backlog = budgets.submitter(SUBMITTER).pending_samples, Backlog(api.firestore, budgets)
    headers = [await api.submit(SAMPLE, key=f"key {number}") for number in range(4)]
    backlog.add(SUBMITTER, headers)

    await api.delete(headers[3])
    await backlog._check(SUBMITTER, backlog._submitters[SUBMITTER])

    assert pending.used == 4
    await backlog.close()


@pytest.mark.parametrize("age_seconds", [-1, 1])
async def test_a_result_of_an_earlier_sample_with_the_same_key_does_not_count(api: Api, age_seconds: int) -> None:
    """Such a result can be kept longer than its sample. The newest sample then still waits for its own result."""
    budgets = Budgets(Limits(max_pending_samples_per_submitter=4))
    pending, backlog = budgets.submitter(SUBMITTER).pending_samples, Backlog(api.firestore, budgets)
    headers = [await api.submit(SAMPLE, key=f"key {number}") for number in range(2)]
    backlog.add(SUBMITTER, headers)
    newest = headers[-1].id
    stored = await api.firestore.batch_get([document_paths.sample(SUBMITTER, newest)])
    (submitted_at,) = (encoding.field_time(document, "submitted_at") for document in stored.values())
    name = api.firestore.name(document_paths.result(SUBMITTER, newest))
    fields = {"status": "COMPUTED", "submitted_at": submitted_at - timedelta(seconds=age_seconds)}
    await api.firestore.commit([encoding.to_write(name, fields)])

    await backlog._check(SUBMITTER, backlog._submitters[SUBMITTER])

    assert pending.used == (2 if age_seconds > 0 else 0)
    await backlog.close()


async def test_a_submitter_cannot_know_which_samples_are_checked(api: Api) -> None:
    """Otherwise, it could hide its backlog by deleting only these samples."""
    limit = 20_000
    headers = [received_sample(SAMPLE, submitter="station").header] * limit
    backlogs = [Backlog(api.firestore, Budgets(Limits(max_pending_samples_per_submitter=limit))) for _ in range(2)]

    for backlog in backlogs:
        backlog.add("station", headers)

    first, second = ([number for number, _ in backlog._submitters["station"]._marks] for backlog in backlogs)
    assert len(first) == len(second) == 200
    assert [(number - 1) // 100 for number in first] == [*range(200)]
    assert first != second
    for backlog in backlogs:
        await backlog.close()


@pytest.mark.parametrize("kind", ["small", "large", "correction"])
async def test_a_sample_counts_if_its_client_disconnects_before_the_response(
    api: Api, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Otherwise, a client that always disconnects could store samples without a limit."""
    pending = api.receiver._budgets.submitter(SUBMITTER).pending_samples
    earlier = await api.submit(SAMPLE, key="earlier") if kind == "correction" else None
    used = pending.used
    sending = asyncio.Event()
    method = "batch_write" if kind == "small" else "commit"
    send = getattr(Firestore, method)

    async def reported(self: Firestore, writes: Any, *arguments: Any) -> Any:
        response = asyncio.ensure_future(send(self, writes, *arguments))
        if any("state_on_arrival" in write.update.fields for write in writes):
            sending.set()
        return await response

    monkeypatch.setattr(Firestore, method, reported)
    supersedes = None if earlier is None else earlier.id
    client = asyncio.create_task(api.submit(LARGE if kind == "large" else SAMPLE, supersedes=supersedes))
    await sending.wait()

    client.cancel()
    await asyncio.wait([client])
    await asyncio.gather(*api.writer._calls, *api.receiver._backlog._commits)

    assert client.cancelled()
    assert await api.headers()
    assert pending.used == used + 1


@pytest.mark.parametrize(
    "error", [MemoryError(), DamagedData(grpc.StatusCode.DATA_LOSS, "damaged")], ids=["memory", "damaged"]
)
async def test_a_failed_check_does_not_end_the_checks(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Of the samples whose results are read, the oldest one cannot be read. The backlog shrinks all the same."""
    monkeypatch.setattr(backlog_module, "_CHECK_SECONDS", 0.01)
    headers = [received_sample(SAMPLE, submitter="station").header for _ in range(10)]
    damaged = document_paths.result("station", headers[0].id)
    reads = 0

    class Results:
        """A Firestore without the samples. The result of the first sample cannot be read."""

        async def estimated_now(self) -> datetime:
            return datetime.now(UTC)

        async def batch_get(self, paths: Collection[str], mask: Collection[str]) -> dict[str, Document]:
            nonlocal reads
            reads += 1
            if damaged in paths and (isinstance(error, DamagedData) or reads == 1):
                raise error
            return {}

    budgets = Budgets(Limits(max_pending_samples_per_submitter=10))
    backlog = Backlog(cast(Firestore, Results()), budgets)
    backlog.add("station", headers)

    await asyncio.to_thread(eventually, lambda: budgets.submitter("station").pending_samples.used == 0)

    assert reads > 1
    await backlog.close()
