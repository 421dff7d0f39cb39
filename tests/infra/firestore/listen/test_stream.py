"""Listen streams: the responses to each commit, and after a reconnect."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from tests.infra.firestore.listen.listen_calls import Stream, documents, query, write
from tests.infra.firestore.server_process import DATABASE, FirestoreProcess, Requests, write_indexes


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


def test_a_query_target_sends_its_result_and_then_its_changes(firestore: FirestoreProcess, listen: Any) -> None:
    """A document that enters, changes, leaves or is deleted each has its own response."""
    write(firestore, changes__a=5, changes__b=1)
    stream = listen(query("changes", minimum=3))

    assert stream.snapshot() == ["ADD", "RESET", "+a", "CURRENT"]
    write(firestore, changes__a=6)
    assert stream.snapshot() == ["+a"]
    write(firestore, changes__a=1)
    assert stream.snapshot() == ["-a"]
    write(firestore, changes__b=9)
    assert stream.snapshot() == ["+b"]
    write(firestore, changes__b=None)
    assert stream.snapshot() == ["xb"]


def test_an_empty_result_becomes_current(listen: Any) -> None:
    """A client learns that its result is empty."""
    assert listen(query("nothing")).snapshot() == ["ADD", "RESET", "CURRENT"]


def test_one_commit_is_one_snapshot(firestore: FirestoreProcess, listen: Any) -> None:
    """A part of a commit is never a consistent snapshot."""
    stream = listen(query("whole"))
    stream.snapshot()

    write(firestore, **{f"whole__{number}": number for number in range(50)})

    assert len(stream.snapshot()) == 50


def test_a_limited_query_sends_removals_and_replacements_in_one_snapshot(
    firestore: FirestoreProcess, listen: Any
) -> None:
    """A document that leaves the result and the one that replaces it arrive together."""
    write(firestore, top__a=1, top__b=2, top__c=3)
    stream = listen(query("top", limit=2))
    assert stream.snapshot() == ["ADD", "RESET", "+c", "+b", "CURRENT"]

    write(firestore, top__d=4)
    assert sorted(stream.snapshot()) == ["+d", "-b"]
    write(firestore, top__c=None)
    assert sorted(stream.snapshot()) == ["+b", "xc"]


def test_a_documents_target_sends_existing_and_missing_documents(firestore: FirestoreProcess, listen: Any) -> None:
    """A missing document is sent as a deletion."""
    write(firestore, named__a=1)
    stream = listen(documents("named/a", "named/b"))

    assert stream.snapshot() == ["ADD", "RESET", "+a", "xb", "CURRENT"]
    write(firestore, named__b=1, named__c=1)
    assert stream.snapshot() == ["+b"]


def test_one_stream_serves_several_targets(firestore: FirestoreProcess, listen: Any) -> None:
    """Targets are added and removed while the stream stays open."""
    stream = listen(query("several"))
    stream.snapshot()
    stream.add(documents("several/a", target_id=2))
    assert stream.snapshot() == ["ADD", "RESET", "xa", "CURRENT"]

    write(firestore, several__a=1)
    assert stream.snapshot() == ["+a", "+a"]
    stream.remove(1)
    write(firestore, several__a=2)
    assert stream.snapshot() in (["REMOVE", "+a"], ["REMOVE", "+a", "+a"], ["+a", "+a"])


def test_an_invalid_target_is_removed_with_its_cause(listen: Any) -> None:
    """The stream stays open."""
    target = query("bad")
    target.query.structured_query.ClearField("from_")

    assert listen(target).snapshot() == ["REMOVE", "cause 3"]


def test_a_target_that_lacks_an_index_is_removed_with_its_cause(own: FirestoreProcess, tmp_path: Path) -> None:
    """The cause is FAILED_PRECONDITION, as for the query itself."""
    own.options = ["--indexes", str(write_indexes(tmp_path / "firestore.indexes.json", [], []))]
    own.start()
    target = query("unserved")
    target.query.structured_query.order_by.add(direction=1).field.field_path = "other"
    stream = Stream(own, target)

    assert stream.snapshot() == ["ADD", "RESET", "REMOVE", "cause 9"]
    stream.close()


def test_a_resume_token_is_valid_after_a_restart(own: FirestoreProcess) -> None:
    """Only the missed changes are sent, including deletions."""
    own.start()
    write(own, resumed__a=1, resumed__b=2, resumed__c=3)
    stream = Stream(own, query("resumed"))
    stream.snapshot()
    stream.close()
    write(own, resumed__b=None, resumed__d=4)
    own.end(signal.SIGKILL)
    own.start()
    write(own, resumed__c=5)

    resumed = Stream(own, query("resumed", resume_token=stream.token))

    responses = resumed.snapshot()
    assert (responses[0], sorted(responses[1:-1]), responses[-1]) == ("ADD", ["+c", "+d", "xb"], "CURRENT")
    resumed.close()


def test_a_document_that_leaves_the_result_before_further_changes_is_removed_on_resuming(
    firestore: FirestoreProcess, listen: Any
) -> None:
    """Only the first of the missed changes shows that the client has the document."""
    write(firestore, left__a=5)
    stream = listen(query("left", minimum=3))
    stream.snapshot()
    write(firestore, left__a=1)
    stream.close()
    write(firestore, left__a=2)

    resumed = listen(query("left", minimum=3, resume_token=stream.token))

    assert resumed.snapshot() == ["ADD", "-a", "CURRENT"]


def test_a_limited_query_starts_again_on_resuming_after_a_change(firestore: FirestoreProcess, listen: Any) -> None:
    """Without a change, the client has the result already, and the next change is compared with this result."""
    write(firestore, again__a=1, again__b=2)
    stream = listen(query("again", limit=1))
    assert stream.snapshot() == ["ADD", "RESET", "+b", "CURRENT"]
    stream.close()

    unchanged = listen(query("again", limit=1, resume_token=stream.token))
    assert unchanged.snapshot() == ["ADD", "CURRENT"]
    write(firestore, again__c=3)
    assert sorted(unchanged.snapshot()) == ["+c", "-b"]

    changed = listen(query("again", limit=1, resume_token=stream.token))
    assert changed.snapshot() == ["ADD", "RESET", "+c", "CURRENT"]


@pytest.mark.parametrize("token", [b"\x7f" * 16, b"", b"abc", b"x" * 1000])
def test_an_unknown_resume_token_resets_the_target(listen: Any, firestore: FirestoreProcess, token: bytes) -> None:
    """It is not a token of this database."""
    write(firestore, over__a=1)

    stream = listen(query("over", resume_token=token))

    assert stream.snapshot() == ["ADD", "RESET", "+a", "CURRENT"]


def token_after(own: FirestoreProcess, name: str) -> bytes:
    """Start a Firestore, write the document `name`, and end it. Return the resume token of a target with it."""
    own.start()
    write(own, **{f"other__{name}": 1})
    stream = Stream(own, query("other"))
    stream.snapshot()
    stream.close()
    own.end()
    return stream.token


@pytest.mark.parametrize(("writes", "restored"), [(0, ["+a"]), (3, ["+c", "+a"])])
def test_a_resume_token_of_the_file_before_a_backup_replaced_it_resets_the_target(
    own: FirestoreProcess, writes: int, restored: list[str]
) -> None:
    """The backup has not reached the sequence, or its sequence belongs to changes that the client has not received."""
    own.start()
    write(own, other__a=1)
    own.end()
    backup = own.data.with_name("backup.sqlite")
    shutil.copy(own.data, backup)
    token = token_after(own, "b")
    own.data = backup
    own.start()
    for number in range(writes):
        write(own, other__c=number)

    resumed = Stream(own, query("other", resume_token=token))

    assert resumed.snapshot() == ["ADD", "RESET", *restored, "CURRENT"]
    resumed.close()


def test_a_resume_token_of_another_database_resets_the_target(own: FirestoreProcess) -> None:
    """All changes of this database are earlier than the token, but the client has not received them."""
    own.start()
    write(own, other__a=1)
    write(own, other__b=2)
    own.end()
    earlier, own.data = own.data, own.data.with_name("later.sqlite")
    token = token_after(own, "c")
    own.data = earlier
    own.start()

    resumed = Stream(own, query("other", resume_token=token))

    assert resumed.snapshot() == ["ADD", "RESET", "+b", "+a", "CURRENT"]
    resumed.close()


def test_writes_to_other_collections_do_not_prevent_resuming(own: FirestoreProcess) -> None:
    """Only the missed changes of the target are sent, independent of the size of the others."""
    own.start()
    write(own, resuming__a=1, resuming__b=2)
    stream = Stream(own, query("resuming"), documents("resuming/a", target_id=2))
    stream.snapshot()
    stream.snapshot()
    stream.close()
    client = own.client()
    for _ in range(3):
        batch = client.batch()
        for number in range(9):
            batch.set(client.document(f"others/{number}"), {"text": "x" * 1_000_000})
        batch.commit()
    write(own, resuming__a=None)

    resumed = Stream(
        own,
        query("resuming", resume_token=stream.token),
        documents("resuming/a", target_id=2, resume_token=stream.token),
    )

    assert resumed.snapshot() == ["ADD", "xa", "CURRENT"]
    assert resumed.snapshot() == ["ADD", "xa", "CURRENT"]
    resumed.close()


def test_streams_end_with_unavailable_when_the_server_stops(own: FirestoreProcess) -> None:
    """Clients listen again after UNAVAILABLE. The stream ends by itself, before the server cancels open calls."""
    own.start()
    requests = Requests(m.ListenRequest(database=DATABASE, add_target=query("ended")))
    call = own.converse("Listen", requests, m.ListenRequest, m.ListenResponse)
    next(call)

    code = own.end()

    with pytest.raises(grpc.RpcError) as ended:
        list(call)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert ended.value.details() == "The server is shutting down."
    assert code == 0
    requests.send(None)
