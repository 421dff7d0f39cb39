"""Google's emulator and the embedded Firestore, side by side behind Google's own client.

Both get the same steps; what they answer is made comparable and must be equal. Three things differ
between two right servers: commit times (compared by their order), ids of transactions and resume tokens
(not compared), and words (codes are compared, words only show in what a failure prints).
"""

import datetime
import itertools
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import Client, DocumentReference, DocumentSnapshot, GeoPoint
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import Value, WriteResult
from google.cloud.firestore_v1.vector import Vector
from google.protobuf import message, timestamp_pb2

Step = Callable[["Side"], Any]

_RECENT = datetime.timedelta(hours=1)
_projects = map("example-{:06}".format, itertools.count())
_anonymous: Any = AnonymousCredentials  # no types there


class Side:
    """One of the two servers."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.client: Any = None
        self.api: Any = FirestoreClient(transport=FirestoreGrpcTransport(channel=grpc.insecure_channel(address)))
        self._commits: dict[datetime.datetime, int] = {}

    def start_over(self, project: str) -> None:
        """Go to a project where there is nothing yet."""
        self.close()
        self._commits = {}
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FIRESTORE_EMULATOR_HOST", self.address)
            self.client = Client(project=project, credentials=_anonymous())

    def close(self) -> None:
        """Let the client go."""
        if self.client is not None:
            self.client.close()

    @property
    def database(self) -> str:
        """The full name of the database."""
        return f"projects/{self.client.project}/databases/(default)"

    def name_of(self, path: str) -> str:
        """Return the full name of a document."""
        return f"{self.database}/documents/{path}"

    def answer(self, step: Step) -> Any:
        """Return what a step gives, or which error it raises, with its words."""
        try:
            found = step(self)
        except GoogleAPICallError as error:
            code = error.grpc_status_code
            return (code.name if code is not None else type(error).__name__), error.message
        except (ValueError, TypeError) as error:
            return f"{type(error).__name__} of the client", str(error)
        return self.plain(found), ""

    def take_as_one(self, moments: Iterable[datetime.datetime | None]) -> None:
        """Take the new ones of these commit times for one: servers may commit a batch in one go, or one by one."""
        number = len(set(self._commits.values()))
        for moment in moments:
            if moment is not None:
                self._commits.setdefault(moment, number)

    def plain(self, value: Any) -> Any:
        """Return a value in a form where equal means the same in every bit and type."""
        if isinstance(value, str):
            return value.replace(self.database, "…")
        if value is None or isinstance(value, bool | int | bytes):
            return value
        if isinstance(value, float):
            return f"double {value!r} {struct.pack('>d', value).hex()}" if value == value else "double NaN"
        if isinstance(value, datetime.datetime):
            age = abs(value - datetime.datetime.now(datetime.UTC))
            return "the time of the request" if age < _RECENT else f"time {value.isoformat()}"
        if isinstance(value, DocumentReference):
            return f"reference {value.path}"
        if isinstance(value, GeoPoint):
            return f"point {self.plain(value.latitude)} {self.plain(value.longitude)}"
        if isinstance(value, Vector):
            return ["vector", *map(self.plain, value)]
        if isinstance(value, DocumentSnapshot):
            times = [self._commit(moment) for moment in (value.create_time, value.update_time)]
            return [value.reference.path, self.plain(value.to_dict()), *times]
        if isinstance(value, WriteResult):
            results = [self.plain(result) for result in value.transform_results]
            return [self._commit(value.update_time), results]
        if isinstance(value, Value):
            return self.plain(Value.pb(value))
        if isinstance(value, timestamp_pb2.Timestamp):
            return self.plain(value.ToDatetime(datetime.UTC))
        if isinstance(value, message.Message):
            return {field.name: self.plain(content) for field, content in value.ListFields()}
        if isinstance(value, Mapping):
            return {str(key): self.plain(value[key]) for key in sorted(value)}
        if isinstance(value, Iterable):
            return list(map(self.plain, value))
        raise TypeError(f"{type(value)} cannot be compared")

    def _commit(self, moment: Any) -> str | None:
        """Return a commit time as a number, in the order in which this side has shown them."""
        if isinstance(moment, timestamp_pb2.Timestamp):  # the client gives these when it was found by a query
            moment = moment.ToDatetime(datetime.UTC)
        return (
            None if moment is None else f"commit {self._commits.setdefault(moment, len(set(self._commits.values())))}"
        )


class Both:
    """The two of them. Every example has a project to itself."""

    def __init__(self, emulator: Side, embedded: Side) -> None:
        self.emulator = emulator
        self.embedded = embedded

    def start_over(self) -> None:
        """Go to a project where there is nothing yet."""
        project = next(_projects)
        self.emulator.start_over(project)
        self.embedded.start_over(project)

    def agree_on(self, step: Step) -> Any:
        """Do a step on both, fail unless both answer alike, and return the answer."""
        expected, expected_words = self.emulator.answer(step)
        found, words = self.embedded.answer(step)
        assert found == expected, (
            f"{step}:\nthe embedded Firestore answers {found!r} {words}\n"
            f"the emulator answers {expected!r} {expected_words}"
        )
        return found
