"""`DELETE /samples/{id}` with the header `If-Match`: the client deletes only the bytes that it has read."""

import httpx

from tests.stack import Stack

LINE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}'
OTHER = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [3, 4]}'


def test_another_sample_with_the_same_id_is_not_deleted(stack: Stack) -> None:
    """Another client can have deleted the sample, and submitted other values with the same idempotency key."""
    with httpx.Client(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=30) as client:
        path = stack.post_sample(LINE, idempotency_key="reused").headers["location"]
        read = client.get(path).headers["etag"]
        assert client.delete(path, headers={"if-match": read}).status_code == 204
        assert stack.post_sample(OTHER, idempotency_key="reused").headers["location"] == path

        refused = client.delete(path, headers={"if-match": read})

        assert (refused.status_code, refused.json()["error"]["extensions"]["code"]) == (409, "CONFLICT")
        assert client.get(path).content == OTHER


def test_one_of_several_tags_must_match(stack: Stack) -> None:
    """`*` stands for any sample that exists."""
    with httpx.Client(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=30) as client:
        listed, known, missing = (stack.post_sample(LINE).headers["location"] for _ in range(3))
        tag = client.get(listed).headers["etag"]
        assert client.delete(missing).status_code == 204

        statuses = [
            client.delete(listed, headers=[("if-match", '"other"'), ("if-match", tag)]).status_code,
            client.delete(known, headers={"if-match": "*"}).status_code,
            client.delete(missing, headers={"if-match": "*"}).status_code,
        ]

    assert statuses == [204, 204, 404]


def test_an_empty_list_of_tags_deletes_nothing(stack: Stack) -> None:
    """A program sends it if the variable with the tag is empty."""
    with httpx.Client(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=30) as client:
        path = stack.post_sample(LINE).headers["location"]

        refused = client.delete(path, headers={"if-match": ""})

        assert (refused.status_code, refused.json()["error"]["extensions"]["code"]) == (409, "CONFLICT")
        assert client.get(path).content == LINE
