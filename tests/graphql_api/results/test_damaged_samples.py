"""A damaged document is reported by its name, not as an internal error."""

import sqlite3
import uuid
from contextlib import closing

import pytest

from dropzone import Client, DataLoss
from infra.embedded.firestore.encoding.path_encoding import encode_path
from storage.documents import document_paths
from tests.stack import Stack


def test_a_damaged_sample_is_reported_with_its_path_and_can_be_deleted(stack: Stack) -> None:
    """Over GraphQL and HTTP."""
    submitter = f"damaged-{uuid.uuid4().hex[:8]}"
    key = stack.new_key(submitter)
    sample_id = stack.submit_fixture(key=key)["id"]
    stack.wait_for(sample_id, key=key)
    path = document_paths.sample(submitter, sample_id)
    with closing(sqlite3.connect(stack.data_file, timeout=60)) as connection, connection:
        damage = "UPDATE versions SET document = x'00' WHERE path = ?"
        assert connection.execute(damage, (encode_path(tuple(path.split("/"))),)).rowcount == 1

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
