"""The raw document in a GraphQL response, which contains its bytes as they are."""

import json
import uuid

import pytest

from storage.documents.validation.json_scanner import MAX_DEPTH
from storage.documents.validation.syntax import MAX_PIECE_BYTES
from tests.stack import Stack

NOT_READ = {
    "TOO_DEEP": b'{"note":%b%b}' % (b"[" * MAX_DEPTH, b"]" * MAX_DEPTH),
    "TOO_LONG": b'{"note":"%b"}' % (b"x" * 2 * MAX_PIECE_BYTES),
}
ADDED = {
    "nothing": b"",
    "fields of the sample": b',"problems":[],"state":"COMPUTED","result":{"mean":42}',
    "another sample": b'}},{"node":{"id":"forged","raw":{}',
    "a list that is not closed": b"[",
}
SAMPLES = "{ samples { edges { node { id state problems { code } result { mean } raw } } } }"


@pytest.mark.parametrize("added", ADDED)
@pytest.mark.parametrize("code", NOT_READ)
def test_a_document_that_was_not_read_completely_is_not_put_into_a_response(
    stack: Stack, code: str, added: str
) -> None:
    """It may not be JSON. Its bytes could replace other fields, or make the samples of the whole page unreadable."""
    document = NOT_READ[code] + ADDED[added]
    key = stack.new_key(f"unread-{uuid.uuid4().hex[:8]}")
    other = stack.submit({"data": [1]}, key=key)["id"]
    unread = stack.post_sample(document, x_api_key=key).json()["id"]

    page = stack.post_graphql(SAMPLES, key=key).json()
    whole = stack.get(f"/samples/{unread}", **{"x-api-key": key})

    nodes = {edge["node"].pop("id"): edge["node"] for edge in page["data"]["samples"]["edges"]}
    assert nodes.keys() == {other, unread}
    assert nodes[other]["raw"] == {"data": [1]}
    assert "GET /samples/{id}" in nodes[unread].pop("raw")
    assert nodes[unread] == {"state": "REJECTED", "problems": [{"code": code}], "result": None}
    assert "errors" not in page
    assert whole.content == document


@pytest.mark.parametrize("document", [{"data": [1], "labels": {"site": "x" * 65}}, [[1]], "text", None])
def test_any_other_rejected_document_is_put_into_a_response(stack: Stack, document: object) -> None:
    """The problem TOO_LONG of a label does not end the validation."""
    sample_id = stack.post_sample(json.dumps(document).encode()).json()["id"]

    response = stack.post_graphql("query ($id: ID!) { sample(id: $id) { state raw } }", {"id": sample_id})

    assert response.json()["data"]["sample"] == {"state": "REJECTED", "raw": document}
