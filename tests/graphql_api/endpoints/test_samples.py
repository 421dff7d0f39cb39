"""`POST /samples` and `GET /samples/{id}`: refusals, stored bytes, and clients that do not read while they send."""

import contextlib
import json
import re
import socket
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from threading import Thread
from uuid import uuid4

import httpx
import pytest
import zstandard

from graphql_api.graphql_server.requests.request_headers import contains_tag
from tests.graphql_api.endpoints.test_rate_limits import limited_key
from tests.stack import PATIENCE_SECONDS, Stack, eventually

LINE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}\n'
NDJSON = {"content-type": "application/x-ndjson"}
ONLY_ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems report the end after the data")


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """Return a client with the key of the stack."""
    with httpx.Client(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=30) as opened:
        yield opened


def code_of(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the error code of a response."""
    return response.status_code, response.json()["error"]["extensions"]["code"]


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip"])
def test_ndjson_in_an_unknown_encoding_is_refused_with_status_415(client: httpx.Client, encoding: str) -> None:
    """The refusal is not a line of a response with status 200."""
    response = client.post("/samples", content=LINE, headers={**NDJSON, "content-encoding": encoding})

    assert code_of(response) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert response.headers["accept-encoding"] == "gzip, zstd"


def test_one_idempotency_key_for_many_lines_is_refused(client: httpx.Client) -> None:
    """The message names the member that each line can have."""
    response = client.post("/samples", content=LINE, headers={**NDJSON, "idempotency-key": "once"})

    assert code_of(response) == (400, "BAD_REQUEST")
    assert "`idempotency_key`" in response.json()["error"]["message"]


def test_two_idempotency_keys_for_one_sample_are_refused(client: httpx.Client) -> None:
    """A retry could have either of them. The same key twice counts as one."""
    kind = ("content-type", "application/json")
    responses = [
        client.post("/samples", content=LINE, headers=[kind, ("idempotency-key", "first"), ("idempotency-key", other)])
        for other in ("second", "first")
    ]

    assert code_of(responses[0]) == (400, "BAD_REQUEST")
    assert responses[1].status_code == 201


@pytest.mark.parametrize("key", ["é", "日本"])
def test_an_idempotency_key_is_the_same_in_every_form(stack: Stack, key: str) -> None:
    """A header is read as UTF-8, like the argument and the member."""
    sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}
    headers = [(b"idempotency-key", key.encode()), (b"x-api-key", stack.key.encode())]
    by_header = httpx.post(f"{stack.url}/samples", json=sample, headers=headers)

    by_argument = stack.submit(sample, idempotency_key=key)

    assert by_header.status_code == 201
    assert by_header.json()["id"] == by_argument["id"]


def test_an_idempotency_key_that_is_not_utf_8_is_refused(client: httpx.Client) -> None:
    """Some clients encode headers as Latin-1."""
    headers = [(b"idempotency-key", "é".encode("latin-1")), (b"content-type", b"application/json")]
    response = client.post("/samples", content=LINE, headers=headers)

    assert code_of(response) == (400, "BAD_REQUEST")
    assert "UTF-8" in response.json()["error"]["message"]


def test_a_missing_content_type_is_refused_with_the_header_to_send(client: httpx.Client) -> None:
    """`curl -d` sends the content type of a form."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = client.post("/samples", content=LINE, headers=headers)

    assert code_of(response) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "content-type: application/json" in response.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "utf-8; charset=latin-1"])
def test_a_charset_other_than_utf_8_is_refused(client: httpx.Client, kind: str, charset: str) -> None:
    """All spellings of UTF-8 are accepted."""
    response = client.post("/samples", content=LINE, headers={"content-type": f"{kind}; charset={charset}"})

    assert code_of(response) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "UTF-8" in response.json()["error"]["message"]
    for utf_8 in ("utf-8", '"UTF-8"', "utf8"):
        response = client.post("/samples", content=LINE, headers={"content-type": f"{kind};charset={utf_8}"})
        assert response.is_success


def test_a_sample_that_the_client_has_is_not_sent_again(stack: Stack, client: httpx.Client) -> None:
    """`If-None-Match` can hold one tag, a weak tag, several tags or `*`. It can be repeated."""
    path = "/samples/" + stack.post_sample(LINE).json()["id"]
    tag = client.get(path).headers["etag"]

    for known in ([tag], [f"W/{tag}"], [f'"other", {tag}'], ['"other"', tag], ["*"]):
        response = client.get(path, headers=[("if-none-match", each) for each in known])
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"if-none-match": '"other"'}).content == LINE
    assert code_of(client.get(path[:-1] + "x", headers={"if-none-match": "*"})) == (404, "NOT_FOUND")


def test_a_long_list_of_known_tags_is_not_split() -> None:
    """Hundreds of requests with such lists would delay the requests of other submitters."""
    known_tags = ", ".join(f'"{number}"' for number in range(3_000))
    tracemalloc.start()
    try:
        assert contains_tag(known_tags, '"2999"')
        assert not contains_tag(known_tags, '"3000"')
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < len(known_tags)


@pytest.mark.parametrize("protocol", ["http", "graphql"])
def test_a_damaged_sample_is_an_internal_error_and_is_logged(stack: Stack, client: httpx.Client, protocol: str) -> None:
    """The request was valid, and the operator must be told."""
    sample_id = stack.post_sample(LINE).json()["id"]
    header = stack.firestore().document(f"submitters/local/samples/{sample_id}")
    header.update({"raw": "{}"})

    if protocol == "http":
        response = client.get(f"/samples/{sample_id}")
        error = response.json()["error"]
        assert response.status_code == 500
    else:
        (error,) = stack.post_graphql("query ($id: ID!) { sample(id: $id) { raw } }", {"id": sample_id}).json()[
            "errors"
        ]

    assert error["extensions"]["code"] == "INTERNAL"
    eventually(lambda: error["extensions"]["id"] in stack.log)


def test_a_revoked_key_ends_an_endless_body(stack: Stack) -> None:
    """The last line contains the error. All lines before it have a receipt. The body arrives fast enough."""
    key, line = stack.new_key("streaming"), b"no" + b" " * 10_000 + b"\n"
    head = f"POST /samples HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/x-ndjson\r\n"
    responses = b""
    revoking = Thread(target=stack.keys, args=("revoke", "--submitter", "streaming", "--yes"))
    with socket.create_connection(("127.0.0.1", stack.api_port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        for number in range(1, 1_000):
            connection.sendall(b"%x\r\n%b\r\n" % (len(line), line))
            while b'"line":%d,' % number not in responses and b"UNAUTHENTICATED" not in responses:
                responses += (data := connection.recv(65536))
                assert data, responses
            if b"UNAUTHENTICATED" in responses:
                break
            if number == 1:
                revoking.start()
            time.sleep(0.02)
    revoking.join()

    *before, last = [json.loads(line) for line in responses.splitlines() if line.startswith(b"{")]
    assert last["error"]["extensions"]["code"] == "UNAUTHENTICATED"
    assert [line["line"] for line in before] == list(range(1, number))


class LateReader(HTTPConnection):
    """A client with a small receive buffer that sends its whole body before it reads."""

    def connect(self) -> None:
        """Connect with a small receive window. With 4 KiB, the kernels can end up with one segment in 200 ms."""
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 2**10)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect((self.host, self.port))


def test_a_client_can_send_its_whole_body_before_it_reads(stack: Stack) -> None:
    """The response is buffered meanwhile."""
    lines = 40_000
    body = (b"no" + b" " * 500 + b"\n") * lines

    with contextlib.closing(LateReader("127.0.0.1", stack.api_port)) as connection:
        connection.request("POST", "/samples", body, {**NDJSON, "x-api-key": stack.key})
        responses = connection.getresponse().read().splitlines()

    assert [json.loads(response)["line"] for response in responses] == list(range(1, lines + 1))


def test_a_disconnect_is_logged_with_the_last_line(stack: Stack) -> None:
    """The log therefore shows which lines are stored."""
    head = f"POST /samples HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.key}\r\ncontent-type: application/x-ndjson\r\n"
    with socket.create_connection(("127.0.0.1", stack.api_port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode() + b"content-length: 100000\r\n\r\n" + b"no\n" * 7)
        while b'"line":7' not in connection.recv(65536):
            pass

    eventually(lambda: "after line 7" in stack.log)


def logged(stack: Stack, disconnect: Callable[[], None]) -> list[str]:
    """Return the lines that are logged while a client disconnects and another submits, without the access log."""
    start, request_id = len(stack.log), uuid4().hex
    disconnect()
    for _ in range(3):
        assert stack.post_sample(LINE, x_request_id=request_id).status_code == 201
    lines = eventually(lambda: log.splitlines() if (log := stack.log[start:]).count(request_id) == 3 else [])
    return [line for line in lines if " access INFO " not in line]


def test_a_disconnect_before_the_first_response_is_not_logged(stack: Stack) -> None:
    """A client can disconnect a thousand times a second."""
    head = f"POST /samples HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.key}\r\ncontent-type: application/x-ndjson\r\n"

    def disconnect() -> None:
        with socket.create_connection(("127.0.0.1", stack.api_port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(head.encode() + b"content-length: 100000\r\n\r\n" + LINE[:20])
            assert connection.recv(12) == b"HTTP/1.1 200"

    assert [] in (logged(stack, disconnect) for _ in range(3))  # other processes can log a line at the same time


@pytest.mark.parametrize("compress", [zstandard.compress, pytest.param(bytes, marks=ONLY_ON_LINUX)])
def test_work_for_a_client_that_has_gone_stops_within_a_chunk(stack: Stack, compress: Callable[[bytes], bytes]) -> None:
    """A kilobyte of zstd holds a million lines. Most lines that are not compressed have arrived, but are not read."""
    lines = 9_000
    body = compress((b"[" + b" " * 97 + b"]\n") * lines)
    key = limited_key(stack, "disconnects", samples_per_second=300)  # a slow client has 10 s to disconnect
    head = f"POST /samples HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/x-ndjson\r\n"
    encoding = "zstd" if len(body) < lines else "identity"
    log_bytes = len(stack.log)
    with socket.create_connection(("127.0.0.1", stack.api_port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(f"{head}content-encoding: {encoding}\r\ncontent-length: 1000000\r\n\r\n".encode() + body)
        while b'"line":' not in connection.recv(65536):
            pass
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    last_lines = eventually(lambda: re.findall(r"the connection was closed after line (\d+)", stack.log[log_bytes:]))
    assert 100 <= int(last_lines[0]) < lines / 2


def test_a_stream_with_too_many_compressed_lines_ends_with_an_error(stack: Stack) -> None:
    """The lines before have responses."""
    body = zstandard.compress(b"\n" * 1_000_000)

    response = stack.post_sample(body, content_type="application/x-ndjson", content_encoding="zstd")

    assert response.status_code == 200
    assert response.json()["error"]["extensions"]["code"] == "TOO_LARGE"


@pytest.mark.parametrize("path", ["/samples", "/graphql"])
def test_a_disconnect_within_a_sample_is_not_logged(stack: Stack, path: str) -> None:
    """Nothing was acknowledged, so nothing is lost."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.key}\r\ncontent-type: application/json\r\n"

    def disconnect() -> None:
        with socket.create_connection(("127.0.0.1", stack.api_port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(head.encode() + b'content-length: 100\r\n\r\n{"data')
        with socket.create_connection(("127.0.0.1", stack.api_port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(head.encode() + b'transfer-encoding: chunked\r\n\r\n6\r\n{"data\r\n')
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset

    assert [] in (logged(stack, disconnect) for _ in range(3))  # other processes can log a line at the same time


def test_a_damaged_sample_does_not_affect_others_of_the_same_operation(stack: Stack) -> None:
    """The error is at the path of the damaged sample. The others are returned."""
    bad, good = (stack.submit_fixture()["id"] for _ in range(2))
    stack.wait_for(good)
    stack.firestore().document(f"submitters/local/samples/{bad}").update({"raw": "{}"})
    query = (
        "query ($bad: ID!, $good: ID!) { bad: sample(id: $bad) { data } good: sample(id: $good) { data(first: 1) } }"
    )

    response = stack.post_graphql(query, {"bad": bad, "good": good}).json()

    assert response["data"]["bad"] is None
    assert len(response["data"]["good"]["data"]) == 1
    assert [error["path"] for error in response["errors"]] == [["bad", "data"]]
