"""Page tokens that the server has not returned for the same list."""

import time
from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import ROOT, FirestoreProcess


@pytest.mark.parametrize(
    ("method", "request_class", "fields"),
    [
        ("ListDocuments", m.ListDocumentsRequest, {"collection_id": "paged", "show_missing": True}),
        ("ListCollectionIds", m.ListCollectionIdsRequest, {}),
    ],
)
@pytest.mark.parametrize("position", ["_w==", "____", "x"])
def test_a_token_with_another_position_is_refused(
    firestore: FirestoreProcess, method: str, request_class: Any, fields: Any, position: str
) -> None:
    """With INVALID_ARGUMENT. Clients would retry an internal error."""
    token = f"{time.time_ns() // 1000 - 1_000_000}.{position}"

    with pytest.raises(grpc.RpcError) as refused:
        firestore.call(method, request_class(parent=ROOT, page_token=token, **fields), m.Empty)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
