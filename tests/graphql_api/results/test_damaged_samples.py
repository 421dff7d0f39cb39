"""A damaged document is reported by its name, not as an internal error."""

import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime

import pytest

from dropzone import Client, DataLoss
from infra.embedded.firestore.encoding.path_encoding import encode_path
from storage.documents import document_paths
from tests.graphql_api.results.measured import write_results
from tests.stack import Stack


def damage(stack: Stack, path: str) -> None:
    """Replace the bytes of a stored document."""
    with closing(sqlite3.connect(stack.data_file, timeout=60)) as connection, connection:
        damaged = "UPDATE versions SET document = x'00' WHERE path = ?"
        assert connection.execute(damaged, (encode_path(tuple(path.split("/"))),)).rowcount == 1


def test_an_export_that_cannot_be_started_has_the_status_of_its_error(stack: Stack) -> None:
    """A client cannot tell a closed connection from an outage of the network."""
    submitter = f"damaged-{uuid.uuid4().hex[:8]}"
    key = stack.new_key(submitter)
    write_results(stack, submitter, [datetime(2020, 1, 1, tzinfo=UTC)])
    (result,) = stack.firestore().collection(f"{document_paths.submitter(submitter)}/results").stream()
    path = document_paths.result(submitter, result.id)
    damage(stack, path)

    response = stack.get("/results", **{"x-api-key": key})
    stack.firestore().document(path).delete()

    assert response.status_code == 500
    assert response.json()["error"]["extensions"]["code"] == "DATA_LOSS"
    assert path in response.json()["error"]["message"]


def test_a_damaged_sample_is_reported_with_its_path_and_can_be_deleted(stack: Stack) -> None:
    """Over GraphQL and HTTP."""
    submitter = f"damaged-{uuid.uuid4().hex[:8]}"
    key = stack.new_key(submitter)
    sample_id = stack.submit_fixture(key=key)["id"]
    stack.wait_for(sample_id, key=key)
    path = document_paths.sample(submitter, sample_id)
    damage(stack, path)

    query = "query ($id: ID!) { sample(id: $id) { id } }"
    response = stack.post_graphql(query, {"id": sample_id}, key=key).json()
    raw = stack.get(f"/samples/{sample_id}", **{"x-api-key": key})
    with Client(stack.url, key) as client, pytest.raises(DataLoss, match=path):
        client.sample(sample_id)
    stack.firestore().document(path).delete()
    deleted = stack.graphql(query, {"id": sample_id}, key=key)

    for error in (response["errors"][0], raw.json()["error"]):
        assert error["extensions"]["code"] == "DATA_LOSS"
        assert f"The stored document {path} is damaged" in error["message"]
    assert raw.status_code == 500
    assert deleted == {"sample": None}
