"""The plain HTTP door: what it refuses, what it keeps, and clients that do not read while they send."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest

from tests.stack import Stack, eventually

LINE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}\n'
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """A client with the key of the stack."""
    with httpx.Client(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=30) as opened:
        yield opened


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    return answer.status_code, answer.json()["error"]["extensions"]["code"]


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip"])
def test_lines_in_an_unknown_encoding_are_refused_by_a_status(client: httpx.Client, encoding: str) -> None:
    """Not by a line under a 200."""
    answer = client.post("/samples", content=LINE, headers={**NDJSON, "content-encoding": encoding})

    assert code_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_one_idempotency_key_for_many_lines_is_refused(client: httpx.Client) -> None:
    """And the client is told where each line has its own."""
    answer = client.post("/samples", content=LINE, headers={**NDJSON, "idempotency-key": "once"})

    assert code_of(answer) == (400, "BAD_REQUEST")
    assert "`idempotency_key`" in answer.json()["error"]["message"]


def test_two_idempotency_keys_for_one_sample_are_refused(client: httpx.Client) -> None:
    """Nobody can say which of them a retry will have; the same one twice is one."""
    kind = ("content-type", "application/json")
    answers = [
        client.post("/samples", content=LINE, headers=[kind, ("idempotency-key", "first"), ("idempotency-key", other)])
        for other in ("second", "first")
    ]

    assert code_of(answers[0]) == (400, "BAD_REQUEST")
    assert answers[1].status_code == 201


def test_who_leaves_out_the_content_type_is_told_the_header_to_send(client: httpx.Client) -> None:
    """As `curl -d` does: it says that it sends a form."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = client.post("/samples", content=LINE, headers=headers)

    assert code_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "content-type: application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "utf-8; charset=latin-1"])
def test_bytes_that_are_said_to_be_no_utf_8_are_refused(client: httpx.Client, kind: str, charset: str) -> None:
    """They would be read as what they are not; UTF-8 may be said in any of its spellings."""
    answer = client.post("/samples", content=LINE, headers={"content-type": f"{kind}; charset={charset}"})

    assert code_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "UTF-8" in answer.json()["error"]["message"]
    for utf_8 in ("utf-8", '"UTF-8"', "utf8"):
        answer = client.post("/samples", content=LINE, headers={"content-type": f"{kind};charset={utf_8}"})
        assert answer.is_success


def test_who_has_a_sample_already_is_not_sent_it_again(stack: Stack, client: httpx.Client) -> None:
    """`If-None-Match`, in the spellings that there are."""
    path = "/samples/" + stack.post_sample(LINE).json()["id"]
    tag = client.get(path).headers["etag"]

    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get(path, headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"if-none-match": '"other"'}).content == LINE
    assert code_of(client.get(path[:-1] + "x", headers={"if-none-match": "*"})) == (404, "NOT_FOUND")


@pytest.mark.parametrize("way", ["rest", "graphql"])
def test_a_damaged_sample_is_our_fault_and_in_the_log(stack: Stack, client: httpx.Client, way: str) -> None:
    """The client asked for nothing wrong, and an operator must know."""
    sample_id = stack.post_sample(LINE).json()["id"]
    header = stack.firestore().document(f"submitters/local/samples/{sample_id}")
    header.update({"raw": "{}"})

    if way == "rest":
        answer = client.get(f"/samples/{sample_id}")
        error = answer.json()["error"]
        assert answer.status_code == 500
    else:
        (error,) = stack.post_graphql("query ($id: ID!) { sample(id: $id) { raw } }", {"id": sample_id}).json()[
            "errors"
        ]

    assert error["extensions"]["code"] == "INTERNAL"
    eventually(lambda: error["extensions"]["id"] in stack.log)


def test_a_revoked_key_ends_an_endless_stream(stack: Stack) -> None:
    """The last line says why; every line before it is answered."""
    key = stack.new_key("streaming")
    head = f"POST /samples HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/x-ndjson\r\n"
    answers = b""
    with socket.create_connection(("127.0.0.1", stack.api_port), timeout=10) as connection:
        connection.sendall(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        for number in range(1, 1_000):
            connection.sendall(b"3\r\nno\n\r\n")
            while b'"line":%d,' % number not in answers and b"UNAUTHENTICATED" not in answers:
                answers += connection.recv(65536)
            if b"UNAUTHENTICATED" in answers:
                break
            if number == 1:
                stack.keys("revoke", "--submitter", "streaming")
            time.sleep(0.02)

    *before, last = [json.loads(line) for line in answers.splitlines() if line.startswith(b"{")]
    assert last["error"]["extensions"]["code"] == "UNAUTHENTICATED"
    assert [line["line"] for line in before] == list(range(1, number))


class LateReader(HTTPConnection):
    """A client that sends all of its body before it reads, and has little room for what it does not read."""

    def connect(self) -> None:
        """Connect with a small window."""
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(15)
        self.sock.connect((self.host, self.port))


def test_a_client_may_send_everything_before_it_reads_anything(stack: Stack) -> None:
    """Its answers wait for it."""
    lines = 60_000
    body = (b"no" + b" " * 500 + b"\n") * lines

    with contextlib.closing(LateReader("127.0.0.1", stack.api_port)) as connection:
        connection.request("POST", "/samples", body, {**NDJSON, "x-api-key": stack.key})
        answers = connection.getresponse().read().splitlines()

    assert [json.loads(answer)["line"] for answer in answers] == list(range(1, lines + 1))


def test_a_client_that_goes_is_in_the_log_with_its_line(stack: Stack) -> None:
    """So that one can tell which of its lines are stored."""
    head = f"POST /samples HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.key}\r\ncontent-type: application/x-ndjson\r\n"
    with socket.create_connection(("127.0.0.1", stack.api_port), timeout=10) as connection:
        connection.sendall(head.encode() + b"content-length: 100000\r\n\r\n" + b"no\n" * 7)
        while b'"line":7' not in connection.recv(65536):
            pass

    eventually(lambda: "behind line 7" in stack.log)


@pytest.mark.parametrize("path", ["/samples", "/graphql"])
def test_who_goes_in_the_middle_of_a_sample_is_no_error_of_ours(stack: Stack, path: str) -> None:
    """Nothing was acknowledged, and there is nobody to tell."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.key}\r\ncontent-type: application/json\r\n"
    before = stack.log
    with socket.create_connection(("127.0.0.1", stack.api_port), timeout=10) as connection:
        connection.sendall(head.encode() + b'content-length: 100\r\n\r\n{"data')
    with socket.create_connection(("127.0.0.1", stack.api_port), timeout=10) as connection:
        connection.sendall(head.encode() + b'transfer-encoding: chunked\r\n\r\n6\r\n{"data\r\n')
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset

    for _ in range(3):
        assert stack.post_sample(LINE).status_code == 201
    assert stack.log == before


def test_a_damaged_sample_harms_no_other_of_its_page(stack: Stack) -> None:
    """It is an error at its own place; what is asked of the others is answered."""
    bad, good = (stack.submit_fixture()["id"] for _ in range(2))
    stack.wait_for(good)
    stack.firestore().document(f"submitters/local/samples/{bad}").update({"raw": "{}"})
    query = (
        "query ($bad: ID!, $good: ID!) { bad: sample(id: $bad) { data } good: sample(id: $good) { data(first: 1) } }"
    )

    answer = stack.post_graphql(query, {"bad": bad, "good": good}).json()

    assert answer["data"]["bad"] is None
    assert len(answer["data"]["good"]["data"]) == 1
    assert [error["path"] for error in answer["errors"]] == [["bad", "data"]]
