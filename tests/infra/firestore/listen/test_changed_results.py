"""Listen streams: what clients receive if the result of a query changes at its limits, or if a target is replaced."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.listen import resume
from infra.embedded.firestore.listen.stream import ListenStream
from infra.embedded.firestore.listen.turns import Turns
from infra.embedded.firestore.storage.change_feed import ChangeFeed
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.listen.listen_calls import Stream, query, write
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, Requests


@pytest.fixture
def listen(firestore: FirestoreProcess) -> Iterator[Any]:
    """Open streams to the shared server, and close them after the test."""
    opened: list[Stream] = []

    def listen(*targets: Any) -> Stream:
        opened.append(Stream(firestore, *targets))
        return opened[-1]

    yield listen
    for stream in opened:
        stream.close()


def test_a_document_that_changes_within_a_limited_result_is_sent(firestore: FirestoreProcess, listen: Any) -> None:
    """It was in the result before. Its neighbor has not changed, so it is not sent again."""
    write(firestore, within__a=1, within__b=2, within__c=3)
    stream = listen(query("within", limit=2))
    stream.snapshot()

    write(firestore, within__c=4)

    assert stream.snapshot() == ["+c"]


def test_a_query_with_an_offset_sends_the_documents_that_move_into_its_result(
    firestore: FirestoreProcess, listen: Any
) -> None:
    """The new document is the one that the query skips."""
    write(firestore, skipped__a=1, skipped__b=2)
    target = query("skipped")
    target.query.structured_query.offset = 1
    stream = listen(target)
    assert stream.snapshot() == ["ADD", "RESET", "+a", "CURRENT"]

    write(firestore, skipped__c=3)

    assert stream.snapshot() == ["+b"]


def test_a_target_with_the_id_of_another_target_replaces_it(firestore: FirestoreProcess, listen: Any) -> None:
    """The stream sends no further changes of the replaced target."""
    stream = listen(query("replaced"))
    stream.snapshot()
    stream.add(query("replacing"))
    stream.snapshot()

    write(firestore, replaced__a=1, replacing__b=1)

    assert stream.snapshot() == ["+b"]


def test_a_target_for_one_snapshot_is_removed_after_it(listen: Any, firestore: FirestoreProcess) -> None:
    """The stream can serve other targets afterwards."""
    stream = listen(query("only", once=True))
    assert stream.snapshot() == ["ADD", "RESET", "CURRENT"]
    stream.add(query("others", target_id=2))
    assert stream.snapshot() == ["REMOVE", "ADD", "RESET", "CURRENT"]

    write(firestore, only__a=1, others__b=1)

    assert stream.snapshot() == ["+b"]


def test_a_document_that_leaves_the_result_has_the_selected_fields(firestore: FirestoreProcess) -> None:
    """The client must not receive fields that it has not requested."""
    write(firestore, selected__a=5)
    target = query("selected", minimum=3)
    target.query.structured_query.select.fields.add(field_path="other")
    requests = Requests(m.ListenRequest(database=DATABASE, add_target=target))
    responses = firestore.converse("Listen", requests, m.ListenRequest, m.ListenResponse)
    next(each for each in responses if each.target_change.resume_token and not each.target_change.target_ids)

    write(firestore, selected__a=1)

    left = next(responses).document_change
    assert list(left.removed_target_ids) == [1]
    assert left.document.name == f"{ROOT}/selected/a"
    assert not left.document.fields
    responses.cancel()
    requests.send(None)


async def test_a_change_that_is_committed_while_a_target_is_added_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new target reports a later position than the change, so the change must be sent before."""
    storage = Storage(tmp_path / "firestore.sqlite")
    received: list[str] = []
    is_first_current, are_both_current = asyncio.Event(), asyncio.Event()

    async def requests() -> AsyncIterator[Any]:
        yield m.ListenRequest(database=DATABASE, add_target=query("meanwhile"))
        await is_first_current.wait()
        yield m.ListenRequest(database=DATABASE, add_target=query("unrelated", target_id=2))
        await asyncio.Event().wait()

    async def respond(response: Any) -> None:
        if response.WhichOneof("response_type") == "document_change":
            received.append("change")
        elif not response.target_change.target_ids:
            (are_both_current if received else is_first_current).set()
            received.append("consistent")

    async def resume_during_a_commit(*_: Any) -> None:
        if is_first_current.is_set():
            document = m.Document(name=f"{ROOT}/meanwhile/a", fields={"n": m.Value(integer_value=1)})
            prepared = [document_write.prepare(m.Write(update=document), DATABASE)]
            await storage.write(partial(commits.commit, writes=prepared, check_conflicts=commits.no_conflicts))

    monkeypatch.setattr(resume, "resume_position", resume_during_a_commit)
    listening = asyncio.create_task(ListenStream(ChangeFeed(storage), Turns(), respond, DATABASE).run(requests()))
    async with asyncio.timeout(60):
        await are_both_current.wait()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await storage.close()

    assert received == ["consistent", "change", "consistent"]
