"""Listen calls to the embedded Firestore, and the writes that they report."""

from typing import Any

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, Requests

NO_CHANGE, ADD, REMOVE, CURRENT, RESET = range(5)


class Stream:
    """A Listen call. `snapshot` returns its responses up to the next consistent snapshot.

    `+a` is a changed document, `-a` a document that left the result, `xa` a deleted document.
    """

    def __init__(self, firestore: FirestoreProcess, *targets: Any) -> None:
        self._requests = Requests(*(m.ListenRequest(database=DATABASE, add_target=target) for target in targets))
        self._call = firestore.converse("Listen", self._requests, m.ListenRequest, m.ListenResponse)
        self.token = b""

    def add(self, target: Any) -> None:
        """Add a target."""
        self._requests.send(m.ListenRequest(database=DATABASE, add_target=target))

    def remove(self, target_id: int) -> None:
        """Remove a target."""
        self._requests.send(m.ListenRequest(database=DATABASE, remove_target=target_id))

    def snapshot(self) -> list[str]:
        """Return the responses up to the next consistent snapshot."""
        responses = []
        for response in self._call:
            change = response.target_change
            if response.WhichOneof("response_type") != "target_change":
                responses.append(_document_text(response))
            elif change.target_change_type == NO_CHANGE and not change.target_ids:
                self.token = change.resume_token
                return responses
            else:
                responses.append(f"{('NO_CHANGE', 'ADD', 'REMOVE', 'CURRENT', 'RESET')[change.target_change_type]}")
                if change.cause.code:
                    return [*responses, f"cause {change.cause.code}"]
        raise AssertionError("the stream has ended")

    def close(self) -> None:
        """Cancel the call."""
        self._call.cancel()
        self._requests.send(None)


def _document_text(response: Any) -> str:
    change = response.document_change
    if response.WhichOneof("response_type") == "document_change":
        name = change.document.name.rsplit("/", 1)[1]
        return f"+{name}" if change.target_ids else f"-{name}"
    removed = response.document_delete.document or response.document_remove.document
    return f"{'x' if response.document_delete.document else '-'}{removed.rsplit('/', 1)[1]}"


def query(collection: str, target_id: int = 1, minimum: int = 0, limit: int = 0, **resume: Any) -> Any:
    """Return a query target: documents with `n >= minimum`, largest first."""
    target = m.ListenRequest(database=DATABASE).add_target
    target.target_id = target_id
    target.query.parent = ROOT
    structured = target.query.structured_query
    structured.from_.add(collection_id=collection)
    structured.where.field_filter.field.field_path, structured.where.field_filter.op = "n", 4
    structured.where.field_filter.value.integer_value = minimum
    structured.order_by.add(direction=2).field.field_path = "n"
    if limit:
        structured.limit.value = limit
    for name, value in resume.items():
        setattr(target, name, value)
    return target


def documents(*paths: str, target_id: int = 1, resume_token: bytes = b"") -> Any:
    """Return a target of documents by name."""
    target = m.ListenRequest(database=DATABASE).add_target
    target.target_id = target_id
    target.documents.documents.extend(f"{ROOT}/{path}" for path in paths)
    if resume_token:
        target.resume_token = resume_token
    return target


def write(firestore: FirestoreProcess, **numbers: int | None) -> None:
    """Write documents `collection__id=n` in one commit. None deletes a document."""
    writes = []
    for key, number in numbers.items():
        name = f"{ROOT}/{key.replace('__', '/')}"
        each = m.Write(delete=name) if number is None else m.Write(update=m.Document(name=name))
        if number is not None:
            each.update.fields["n"].integer_value = number
        writes.append(each)
    firestore.call("Commit", m.CommitRequest(database=DATABASE, writes=writes), m.CommitResponse)
