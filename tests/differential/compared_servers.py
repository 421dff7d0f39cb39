"""Google's emulator and the embedded Firestore, each with Google's client.

Both execute the same steps, and their normalized results must be equal. Two correct servers differ in three ways:
- Commit times. Only their order is compared.
- Ids of transactions and resume tokens. They are not compared.
- Error messages. The status codes are compared; the messages are printed by a failure.
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

Step = Callable[["ComparedServer"], Any]

_RECENT = datetime.timedelta(hours=1)
_projects = map("example-{:06}".format, itertools.count())
_anonymous: Any = AnonymousCredentials  # the class has no type hints


class ComparedServer:
    """One server, its client and its v1 API."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.client: Any = None
        self.api: Any = FirestoreClient(transport=FirestoreGrpcTransport(channel=grpc.insecure_channel(address)))
        self._commits: dict[datetime.datetime, int] = {}

    def use_empty_project(self, project: str) -> None:
        """Connect to a project without documents."""
        self.close()
        self._commits = {}
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FIRESTORE_EMULATOR_HOST", self.address)
            self.client = Client(project=project, credentials=_anonymous())

    def close(self) -> None:
        """Close the client."""
        if self.client is not None:
            self.client.close()

    @property
    def database(self) -> str:
        """The full name of the database."""
        return f"projects/{self.client.project}/databases/(default)"

    def name_of(self, path: str) -> str:
        """Return the full name of a document."""
        return f"{self.database}/documents/{path}"

    def run(self, step: Step) -> Any:
        """Return the normalized result of a step and an empty text, or the error's code and message."""
        try:
            result = step(self)
        except GoogleAPICallError as error:
            code = error.grpc_status_code
            return (code.name if code is not None else type(error).__name__), error.message
        except (ValueError, TypeError) as error:
            return f"{type(error).__name__} of the client", str(error)
        return self.normalize(result), ""

    def merge_commit_times(self, commit_times: Iterable[datetime.datetime | None]) -> None:
        """Give the new commit times one number: a server commits the writes of a batch together or separately."""
        number = len(set(self._commits.values()))
        for commit_time in commit_times:
            if commit_time is not None:
                self._commits.setdefault(commit_time, number)

    def normalize(self, value: Any) -> Any:
        """Return a value in a form that is equal only for the same types and bits."""
        if isinstance(value, str):
            return value.replace(self.database, "…")
        if value is None or isinstance(value, bool | int | bytes):
            return value
        if isinstance(value, float):
            return f"double {value!r} {struct.pack('>d', value).hex()}" if value == value else "double NaN"
        if isinstance(value, datetime.datetime):
            age = abs(value - datetime.datetime.now(datetime.UTC))
            return "a server time" if age < _RECENT else f"time {value.isoformat()}"
        if isinstance(value, DocumentReference):
            return f"reference {value.path}"
        if isinstance(value, GeoPoint):
            return f"point {self.normalize(value.latitude)} {self.normalize(value.longitude)}"
        if isinstance(value, Vector):
            return ["vector", *map(self.normalize, value)]
        if isinstance(value, DocumentSnapshot):
            times = [self._commit(time) for time in (value.create_time, value.update_time)]
            return [value.reference.path, self.normalize(value.to_dict()), *times]
        if isinstance(value, WriteResult):
            results = [self.normalize(result) for result in value.transform_results]
            return [self._commit(value.update_time), results]
        if isinstance(value, Value):
            return self.normalize(Value.pb(value))
        if isinstance(value, timestamp_pb2.Timestamp):
            return self.normalize(value.ToDatetime(datetime.UTC))
        if isinstance(value, message.Message):
            return {field.name: self.normalize(content) for field, content in value.ListFields()}
        if isinstance(value, Mapping):
            return {str(key): self.normalize(value[key]) for key in sorted(value)}
        if isinstance(value, Iterable):
            return list(map(self.normalize, value))
        raise TypeError(f"{type(value)} cannot be compared")

    def _commit(self, commit_time: Any) -> str | None:
        """Return the number of a commit time, in the order in which this server returned them."""
        if commit_time is None:
            return None
        if isinstance(commit_time, timestamp_pb2.Timestamp):  # query results have these
            commit_time = commit_time.ToDatetime(datetime.UTC)
        return f"commit {self._commits.setdefault(commit_time, len(set(self._commits.values())))}"


class ServerPair:
    """Both servers. Each example uses a project of its own."""

    def __init__(self, emulator: ComparedServer, embedded: ComparedServer) -> None:
        self.emulator = emulator
        self.embedded = embedded

    def use_empty_project(self) -> None:
        """Connect to a project without documents."""
        project = next(_projects)
        self.emulator.use_empty_project(project)
        self.embedded.use_empty_project(project)

    def compare(self, step: Step) -> Any:
        """Run a step on both servers, fail unless the results are equal, and return the result."""
        expected, expected_message = self.emulator.run(step)
        result, message = self.embedded.run(step)
        assert result == expected, (
            f"{step}:\nthe embedded Firestore returns {result!r} {message}\n"
            f"the emulator returns {expected!r} {expected_message}"
        )
        return result
