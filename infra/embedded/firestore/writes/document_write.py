"""One write to one document: precondition, update mask and transforms.

A write is parsed and validated before it is queued. `PreparedWrite.apply` is a pure function of the current document
and the commit time, so the result depends only on the order of commits.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from infra.embedded.firestore.encoding import field_paths, limits, resource_names
from infra.embedded.firestore.encoding.field_paths import FieldPath
from infra.embedded.firestore.errors import (
    StatusError,
    already_exists,
    failed_precondition,
    invalid_argument,
    not_found,
)
from infra.embedded.firestore.messages import Document, FieldTransform, Write, WriteResult, microseconds, timestamp
from infra.embedded.firestore.writes import transforms


@dataclass(slots=True)
class PreparedWrite:
    """A Write message whose names and paths are parsed and valid."""

    name: resource_names.ResourceName
    full_name: str
    path: bytes
    update: Document  # empty for a delete
    is_delete: bool
    mask: tuple[FieldPath, ...] | None
    transforms: tuple[FieldTransform, ...]
    exists: bool | None
    update_time: int | None
    replaces: bool = False
    """Whether the result is `update` with server times, and within the size limits."""

    @property
    def kind(self) -> str:
        """The name of this kind of write in production's error messages."""
        if self.is_delete:
            return "delete"
        if self.exists is None:
            return "upsert" if self.update_time is None else "update"
        return "update" if self.exists else "insert"

    def check_precondition(self, current: Document | None, base: Document | None, now: int) -> None:
        """Raise StatusError unless the precondition holds.

        `current` is the document after the earlier writes of the commit. `base` is the document before the commit.
        """
        if self.exists is not None:
            if self.exists and current is None:
                raise not_found(f"No document to update: {self.full_name}")
            if not self.exists and current is not None:
                raise already_exists(f"Document already exists: {self.full_name}")
        elif self.update_time is not None:
            if self.update_time > now:
                raise invalid_argument("The update_time in the precondition cannot be in the future.")
            stored = 0 if base is None else microseconds(base.update_time)
            if base is None or stored != self.update_time:
                raise failed_precondition(
                    f"the stored version ({stored}) does not match the required base version ({self.update_time})"
                )

    def apply(self, current: Document | None, commit_time: int) -> tuple[Document | None, WriteResult]:
        """Return the document after this write, and the WriteResult."""
        if self.is_delete:
            return None, WriteResult()
        new = self.update if self.replaces else self._merged(current)  # server times can be set again, so no copy
        result = WriteResult()
        for transform in self.transforms:
            result.transform_results.append(transforms.apply(new.fields, transform, commit_time))
        if not self.replaces:
            limits.check_document(self.name, new.fields)
        time = timestamp(commit_time)
        new.update_time.CopyFrom(time)
        new.create_time.CopyFrom(time if current is None else current.create_time)
        return new, result

    def _merged(self, current: Document | None) -> Document:
        """Return a copy of the current document, with the fields of the mask replaced or removed."""
        new = Document()
        if self.mask is None:
            new.CopyFrom(self.update)
            return new
        if current is not None:
            new.CopyFrom(current)
        new.name = self.full_name
        for path in self.mask:
            value = field_paths.get(self.update.fields, path)
            if value is None:
                field_paths.remove(new.fields, path)
            else:
                field_paths.get_or_create(new.fields, path).CopyFrom(value)
        return new


def prepare_all(messages: Iterable[Write], database: str) -> list[PreparedWrite]:
    """Parse the Write messages of one commit. Raise StatusError if the writes can never succeed together."""
    prepared = [prepare(message, database) for message in messages]
    latest: dict[str, PreparedWrite] = {}
    base_versions: dict[str, int | None] = {}
    transform_counts: defaultdict[str, int] = defaultdict(int)
    for write in prepared:
        transform_counts[write.full_name] += len(write.transforms)
        _check_number(write.full_name, transform_counts[write.full_name])
        earlier = latest.get(write.full_name)
        base_version = base_versions.setdefault(write.full_name, write.update_time)
        if earlier is not None:
            needs_document = write.exists or (write.update_time is not None and not write.is_delete)
            if (needs_document and earlier.is_delete) or (write.exists is False and not earlier.is_delete):
                raise invalid_argument(f"Cannot {earlier.kind} then {write.kind} an entity in the same request.")
            if write.update_time is not None and write.update_time != base_version:
                raise invalid_argument("Cannot collapse mutations with different version preconditions.")
        latest[write.full_name] = write
    return prepared


def prepare_each(messages: Iterable[Write], database: str) -> list[PreparedWrite | StatusError]:
    """Parse the Write messages of a batch. Return the error of each write that can never succeed.

    Raise StatusError if two of them write to the same document.
    """
    prepared: list[PreparedWrite | StatusError] = []
    names: set[str] = set()
    for message in messages:
        name = message.update.name or message.delete or message.transform.document
        if name and name in names:
            raise invalid_argument(f"Document {name} cannot be written to more than once per request.")
        names.add(name)
        try:
            prepared.append(prepare(message, database))
        except StatusError as error:
            prepared.append(error.with_traceback(None))
    return prepared


def prepare(write: Write, database: str) -> PreparedWrite:
    """Parse a Write message. Raise StatusError if the write can never succeed."""
    operation, full_name, update, field_transforms = _operation(write)
    name = resource_names.parse_document(full_name, database)
    mask = tuple(map(field_paths.parse, write.update_mask.field_paths)) if write.HasField("update_mask") else None
    if operation != "update" and (mask is not None or write.update_transforms):
        raise invalid_argument(f"A {operation} cannot have a mask or update transforms.")
    size = limits.check_document(name, update.fields) if operation == "update" else 0
    if operation == "transform":
        mask = ()
        if not field_transforms:
            raise invalid_argument("The list of FieldTransform must not be empty.")
    _check_number(full_name, len(field_transforms))
    added = transforms.check_all(field_transforms)
    replaces = mask is None and added is not None and size + added <= limits.MAX_DOCUMENT_BYTES
    condition = write.current_document.WhichOneof("condition_type")
    return PreparedWrite(
        name=name,
        full_name=full_name,
        path=name.path,
        update=update,
        is_delete=operation == "delete",
        mask=mask,
        transforms=field_transforms,
        exists=write.current_document.exists if condition == "exists" else None,
        update_time=limits.version_time(write.current_document.update_time) if condition == "update_time" else None,
        replaces=replaces,
    )


def _check_number(full_name: str, transform_count: int) -> None:
    if transform_count > limits.MAX_TRANSFORMS:
        raise invalid_argument(
            f"Document '{full_name}' has {transform_count} field transforms in one request: "
            f"at most {limits.MAX_TRANSFORMS} are allowed."
        )


def _operation(write: Write) -> tuple[str, str, Document, tuple[FieldTransform, ...]]:
    """Return operation, document name, new document and field transforms of a Write message."""
    operation = write.WhichOneof("operation")
    if operation == "update":
        return operation, write.update.name, write.update, tuple(write.update_transforms)
    if operation == "delete":
        return operation, write.delete, Document(), ()
    if operation == "transform":
        return operation, write.transform.document, Document(), tuple(write.transform.field_transforms)
    raise invalid_argument("A write must have an update, a delete or a transform.")
