"""Listen: what streams are told, commit by commit, and after a reconnect."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, Requests, write_indexes

NO_CHANGE, ADD, REMOVE, CURRENT, RESET = range(5)


class Stream:
    """A Listen call whose answers are gathered snapshot by snapshot."""

    def __init__(self, firestore: FirestoreProcess, *targets: Any) -> None:
        self._requests = Requests(*(m.ListenRequest(database=DATABASE, add_target=target) for target in targets))
        self._call = firestore.converse("Listen", self._requests, m.ListenRequest, m.ListenResponse)
        self.token = b""

    def add(self, target: Any) -> None:
        """Listen to one more target."""
        self._requests.send(m.ListenRequest(database=DATABASE, add_target=target))

    def remove(self, target_id: int) -> None:
        """Listen to one target less."""
        self._requests.send(m.ListenRequest(database=DATABASE, remove_target=target_id))

    def snapshot(self) -> list[str]:
        """Return what is said until the next point where everything is consistent."""
        told = []
        for response in self._call:
            change = response.target_change
            if response.WhichOneof("response_type") != "target_change":
                told.append(_said(response))
            elif change.target_change_type == NO_CHANGE and not change.target_ids:
                self.token = change.resume_token
                return told
            else:
                told.append(f"{('NO_CHANGE', 'ADD', 'REMOVE', 'CURRENT', 'RESET')[change.target_change_type]}")
                if change.cause.code:
                    return [*told, f"cause {change.cause.code}"]
        raise AssertionError("the stream has ended")

    def close(self) -> None:
        """Cancel the call."""
        self._call.cancel()
        self._requests.send(None)


def _said(response: Any) -> str:
    change = response.document_change
    if response.WhichOneof("response_type") == "document_change":
        name = change.document.name.rsplit("/", 1)[1]
        return f"+{name}" if change.target_ids else f"-{name}"
    gone = response.document_delete.document or response.document_remove.document
    return f"{'x' if response.document_delete.document else '-'}{gone.rsplit('/', 1)[1]}"


def query(collection: str, target_id: int = 1, least: int = 0, limit: int = 0, **resume: Any) -> Any:
    """Return a target: documents by falling `n`, of at least so much."""
    target = m.ListenRequest(database=DATABASE).add_target
    target.target_id = target_id
    target.query.parent = ROOT
    structured = target.query.structured_query
    structured.from_.add(collection_id=collection)
    structured.where.field_filter.field.field_path, structured.where.field_filter.op = "n", 4
    structured.where.field_filter.value.integer_value = least
    structured.order_by.add(direction=2).field.field_path = "n"
    if limit:
        structured.limit.value = limit
    for name, value in resume.items():
        setattr(target, name, value)
    return target


def documents(*paths: str, target_id: int = 1, resume_token: bytes = b"") -> Any:
    """Return a target: documents by their names."""
    target = m.ListenRequest(database=DATABASE).add_target
    target.target_id = target_id
    target.documents.documents.extend(f"{ROOT}/{path}" for path in paths)
    if resume_token:
        target.resume_token = resume_token
    return target


def write(firestore: FirestoreProcess, **numbers: int | None) -> None:
    """Commit documents `collection__id=n` together; None deletes."""
    writes = []
    for key, number in numbers.items():
        name = f"{ROOT}/{key.replace('__', '/')}"
        each = m.Write(delete=name) if number is None else m.Write(update=m.Document(name=name))
        if number is not None:
            each.update.fields["n"].integer_value = number
        writes.append(each)
    firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=writes), m.CommitResponse)


@pytest.fixture
def listen(firestore: FirestoreProcess) -> Iterator[Any]:
    """Open streams to the shared server that are closed in the end."""
    opened: list[Stream] = []

    def listen(*targets: Any) -> Stream:
        opened.append(Stream(firestore, *targets))
        return opened[-1]

    yield listen
    for stream in opened:
        stream.close()


def test_a_query_is_told_first_what_is_there_then_what_changes(firestore: FirestoreProcess, listen: Any) -> None:
    """In, changed, out and gone, each as its own kind of message."""
    write(firestore, told__a=5, told__b=1)
    stream = listen(query("told", least=3))

    assert stream.snapshot() == ["ADD", "+a", "CURRENT"]
    write(firestore, told__a=6)
    assert stream.snapshot() == ["+a"]
    write(firestore, told__a=1)
    assert stream.snapshot() == ["-a"]
    write(firestore, told__b=9)
    assert stream.snapshot() == ["+b"]
    write(firestore, told__b=None)
    assert stream.snapshot() == ["xb"]


def test_an_empty_result_is_current_too(listen: Any) -> None:
    """Whoever watches nothing is told that it is nothing."""
    assert listen(query("nothing")).snapshot() == ["ADD", "CURRENT"]


def test_one_commit_is_one_snapshot(firestore: FirestoreProcess, listen: Any) -> None:
    """However many documents a commit writes, no half of it is ever consistent."""
    stream = listen(query("whole"))
    stream.snapshot()

    write(firestore, **{f"whole__{number}": number for number in range(50)})

    assert len(stream.snapshot()) == 50


def test_a_limit_shows_who_moves_up_in_the_same_snapshot(firestore: FirestoreProcess, listen: Any) -> None:
    """Drop-outs and refills come together."""
    write(firestore, top__a=1, top__b=2, top__c=3)
    stream = listen(query("top", limit=2))
    assert stream.snapshot() == ["ADD", "+c", "+b", "CURRENT"]

    write(firestore, top__d=4)
    assert sorted(stream.snapshot()) == ["+d", "-b"]
    write(firestore, top__c=None)
    assert sorted(stream.snapshot()) == ["+b", "xc"]


def test_documents_are_told_whether_they_are_there_or_not(firestore: FirestoreProcess, listen: Any) -> None:
    """A missing document is a deletion."""
    write(firestore, named__a=1)
    stream = listen(documents("named/a", "named/b"))

    assert stream.snapshot() == ["ADD", "+a", "xb", "CURRENT"]
    write(firestore, named__b=1, named__c=1)
    assert stream.snapshot() == ["+b"]


def test_one_stream_serves_several_targets(firestore: FirestoreProcess, listen: Any) -> None:
    """They come and go while the stream stays."""
    stream = listen(query("several"))
    stream.snapshot()
    stream.add(documents("several/a", target_id=2))
    assert stream.snapshot() == ["ADD", "xa", "CURRENT"]

    write(firestore, several__a=1)
    assert stream.snapshot() == ["+a", "+a"]
    stream.remove(1)
    write(firestore, several__a=2)
    assert stream.snapshot() in (["REMOVE", "+a"], ["REMOVE", "+a", "+a"], ["+a", "+a"])


def test_a_bad_target_is_removed_with_the_cause(listen: Any) -> None:
    """The stream itself goes on."""
    target = query("bad")
    target.query.structured_query.ClearField("from_")

    assert listen(target).snapshot() == ["REMOVE", "cause 3"]


def test_a_target_without_its_index_is_removed_with_the_cause(own: FirestoreProcess, tmp_path: Path) -> None:
    """FAILED_PRECONDITION, as for the query by itself."""
    own.options = ["--indexes", str(write_indexes(tmp_path / "firestore.indexes.json", [], []))]
    own.start()
    target = query("unserved")
    target.query.structured_query.order_by.add(direction=1).field.field_path = "other"
    stream = Stream(own, target)

    assert stream.snapshot() == ["ADD", "REMOVE", "cause 9"]
    stream.close()


def test_a_resume_token_outlives_the_server(own: FirestoreProcess) -> None:
    """After a restart only what was missed is told, deletions among it."""
    own.start()
    write(own, kept__a=1, kept__b=2, kept__c=3)
    stream = Stream(own, query("kept"))
    stream.snapshot()
    stream.close()
    write(own, kept__b=None, kept__d=4)
    own.end(signal.SIGKILL)
    own.start()
    write(own, kept__c=5)

    resumed = Stream(own, query("kept", resume_token=stream.token))

    told = resumed.snapshot()
    assert (told[0], sorted(told[1:-1]), told[-1]) == ("ADD", ["+c", "+d", "xb"], "CURRENT")
    resumed.close()


def test_a_token_that_means_nothing_here_starts_all_over(listen: Any, firestore: FirestoreProcess) -> None:
    """A token from the future of this file resets the target."""
    write(firestore, over__a=1)

    stream = listen(query("over", resume_token=b"\x7f" * 16))

    assert stream.snapshot() == ["ADD", "RESET", "+a", "CURRENT"]


def test_a_token_of_another_file_starts_all_over(own: FirestoreProcess) -> None:
    """Whoever began anew with an empty file must not be taken for having seen what is in it."""
    own.start()
    write(own, other__a=1)
    write(own, other__b=2)
    stream = Stream(own, query("other"))
    stream.snapshot()
    stream.close()
    own.end()
    for file in own.data.parent.glob("firestore.sqlite*"):
        file.unlink()
    own.start()
    for number in range(3):
        write(own, other__c=number)

    resumed = Stream(own, query("other", resume_token=stream.token))

    assert resumed.snapshot() == ["ADD", "RESET", "+c", "CURRENT"]
    resumed.close()


def test_what_others_wrote_does_not_count_when_a_stream_resumes(own: FirestoreProcess) -> None:
    """However much it was, only what was missed is told."""
    own.start()
    write(own, mine__a=1, mine__b=2)
    stream = Stream(own, query("mine"), documents("mine/a", target_id=2))
    stream.snapshot()
    stream.snapshot()
    stream.close()
    client = own.client()
    for _ in range(3):
        batch = client.batch()
        for number in range(9):
            batch.set(client.document(f"others/{number}"), {"text": "x" * 1_000_000})
        batch.commit()
    write(own, mine__a=None)

    resumed = Stream(
        own, query("mine", resume_token=stream.token), documents("mine/a", target_id=2, resume_token=stream.token)
    )

    assert resumed.snapshot() == ["ADD", "xa", "CURRENT"]
    assert resumed.snapshot() == ["ADD", "xa", "CURRENT"]
    resumed.close()


def test_streams_end_with_unavailable_when_the_server_stops(own: FirestoreProcess) -> None:
    """So that watchers come back, instead of giving up."""
    own.start()
    requests = Requests(m.ListenRequest(database=DATABASE, add_target=query("ended")))
    call = own.converse("Listen", requests, m.ListenRequest, m.ListenResponse)
    next(call)

    started = time.monotonic()
    code = own.end()

    assert time.monotonic() - started < 2
    with pytest.raises(grpc.RpcError) as ended:
        list(call)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert code == 0
    requests.send(None)
