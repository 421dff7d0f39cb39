"""A Commit sends all writes together, and repeats them after a transient error."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from storage.documents import Unavailable
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, PreconditionFailed
from storage.firestore.messages import CommitRequest, CommitResponse
from tests.storage.firestore import one_method

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code.OK, None),
        (Code.FAILED_PRECONDITION, PreconditionFailed),
        (Code.NOT_FOUND, PreconditionFailed),
        (Code.ALREADY_EXISTS, PreconditionFailed),
        (Code.PERMISSION_DENIED, FirestoreError),
    ],
)
async def test_a_commit_is_sent_once_with_all_writes(code: grpc.StatusCode, expected: type[Exception] | None) -> None:
    """The caller reads the documents again if a precondition fails."""
    async with _server([code]) as (firestore, requests):
        writes = _writes(firestore)
        if expected is None:
            assert len(await firestore.commit(writes)) == len(writes)
        else:
            with pytest.raises(expected) as raised:
                await firestore.commit(writes)
            assert isinstance(raised.value, PreconditionFailed) == (expected is PreconditionFailed)

    assert requests == [writes]


@pytest.mark.parametrize("code", [Code.ABORTED, Code.UNAVAILABLE])
async def test_a_commit_is_sent_again_after_a_transient_error(code: grpc.StatusCode) -> None:
    """Otherwise, a new key would be lost if the response of Firestore is lost."""
    async with _server([code, code, Code.OK]) as (firestore, requests):
        writes = _writes(firestore)
        await firestore.commit(writes)

    assert requests == [writes] * 3


async def test_a_commit_is_unavailable_after_its_timeout() -> None:
    """The first pause is longer than the remaining time."""
    async with _server([Code.UNAVAILABLE], timeout_seconds=0.005) as (firestore, requests):
        with pytest.raises(Unavailable):
            await firestore.commit(_writes(firestore))

    assert len(requests) <= 1


def _writes(firestore: Firestore) -> list[Any]:
    return [encoding.to_delete(firestore.name(f"things/{number}")) for number in range(2)]


@contextlib.asynccontextmanager
async def _server(codes: list[grpc.StatusCode], timeout_seconds: float = 30) -> AsyncIterator[tuple[Firestore, Any]]:
    """Run a server that responds to Commit calls with these codes. Yield a client, and the writes of each call."""
    requests: list[list[Any]] = []

    async def commit(request: Any, context: Any) -> Any:
        code = codes[len(requests)]
        requests.append(list(request.writes))
        if code is not Code.OK:
            await context.abort(code, "on purpose")
        return CommitResponse(write_results=[{}] * len(request.writes))

    method = grpc.unary_unary_rpc_method_handler(commit, CommitRequest.FromString, CommitResponse.SerializeToString)
    async with one_method.serve("Commit", method, timeout_seconds=timeout_seconds) as firestore:
        yield firestore, requests
