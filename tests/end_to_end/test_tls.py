"""A small deployment without a reverse proxy: the API itself speaks HTTPS."""

import json
import logging
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from cryptography.x509 import load_pem_x509_certificate
from google.api_core.exceptions import Unauthenticated
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from graphql_api.__main__ import warn_of_other_machines
from graphql_api.configuration.settings import Settings
from tests.certificates import certificate
from tests.stack import FIXTURE, Stack, eventually


@pytest.fixture(scope="module")
def secure_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a certificate, started like `make run`. Its own clients trust the certificate."""
    folder = tmp_path_factory.mktemp("tls")
    settings = certificate(folder) | {"DROPZONE_FIRESTORE_TOKEN": "only for this stack"}
    stack = Stack(folder, SSL_CERT_FILE=settings["DROPZONE_TLS_CERTIFICATE_FILE"], **settings)
    stack.start("--greet")
    try:
        yield stack
    finally:
        stack.__exit__(None, None, None)


def test_a_stack_with_a_certificate_speaks_https_only(secure_stack: Stack) -> None:
    """The supervisor finds the API ready, prints its address with https, and stores its example over TLS."""
    stack = secure_stack
    eventually(lambda: f"{stack.url}/#sign-in=" in stack.log, lambda: stack.log)

    assert "example    COMPUTED" in stack.log
    assert stack.url.startswith("https://")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{stack.api_port}/healthz")
    response = stack.get("/healthz")
    assert response.status_code == 200
    assert response.headers["strict-transport-security"] == "max-age=31536000"


def test_the_session_of_a_browser_is_secure(secure_stack: Stack) -> None:
    """Browsers send its cookie over TLS only."""
    stack = secure_stack
    response = httpx.post(f"{stack.url}/session", headers={"x-api-key": stack.key}, verify=stack.tls or True)

    assert response.headers["set-cookie"].startswith("__Host-dropzone_session_")
    assert "; Secure" in response.headers["set-cookie"]


async def test_a_page_without_https_has_no_session(secure_stack: Stack) -> None:
    """Someone on the network can change such a page of the same host. A WebSocket needs no preflight request."""
    stack = secure_stack
    own, other = {"origin": stack.url}, {"origin": stack.url.replace("https", "http")}
    async with httpx.AsyncClient(base_url=stack.url, headers=own, verify=stack.tls or True) as browser:
        await browser.post("/session", headers={"x-api-key": stack.key})
        submitters = [(await browser.get("/session", headers=each)).json()["submitter"] for each in (own, other)]
        cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    url, protocols = f"{stack.url.replace('https', 'wss')}/graphql", [Subprotocol("graphql-transport-ws")]

    assert submitters == [stack.submitter, None]
    async with connect(url, subprotocols=protocols, ssl=stack.tls, additional_headers=cookie | own):
        pass
    with pytest.raises(InvalidStatus, match="403"):
        await connect(url, subprotocols=protocols, ssl=stack.tls, additional_headers=cookie | other)


def test_a_sample_of_several_megabytes_works_over_tls(secure_stack: Stack) -> None:
    """Its result is complete, and its download has the bytes that were sent."""
    stack = secure_stack
    large = json.dumps({"time_stamp": "2019-05-01T06:00:00Z", "data": [0.1] * 500_000}).encode()

    sample_id = stack.post_sample(large).json()["id"]

    assert stack.wait_for(sample_id)["result"]["count"] == 500_000
    assert stack.get(f"/samples/{sample_id}").content == large


async def test_a_subscription_works_over_tls(secure_stack: Stack) -> None:
    """The client is asynchronous. With a synchronous client, two threads use the same TLS connection, which Python 3.11
    does not support: some requests are never sent.
    """
    stack = secure_stack
    sample_id = (await anyio.to_thread.run_sync(stack.submit_fixture))["id"]
    await anyio.to_thread.run_sync(stack.wait_for, sample_id)
    query = {"query": "subscription ($id: ID!) { sample(id: $id) { state } }", "variables": {"id": sample_id}}
    url = f"{stack.url.replace('https', 'wss')}/graphql"

    async with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], ssl=stack.tls) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"x-api-key": stack.key}}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": query}))
        event = json.loads(await socket.recv())

    assert event["payload"] == {"data": {"sample": {"state": "COMPUTED"}}}


def served(stack: Stack) -> str:
    """Return the certificate that a new connection gets, in PEM."""
    return ssl.get_server_certificate(("127.0.0.1", stack.api_port))


def reported_expiry(stack: Stack, certificate_file: Path) -> float:
    """Return when the certificate expires, as `/metrics` says. The certificate in the file is trusted."""
    context = ssl.create_default_context(cafile=certificate_file)
    text = httpx.get(f"{stack.url}/metrics", verify=context).text
    return float(text.split("\ndropzone_certificate_expiry_timestamp_seconds ")[1].split("\n")[0])


def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    """Files that do not belong together are not used: a renewal replaces them one after the other."""
    settings = certificate(tmp_path)
    with Stack(tmp_path, SSL_CERT_FILE=settings["DROPZONE_TLS_CERTIFICATE_FILE"], **settings) as stack:
        file, key_file = (tmp_path / name for name in ("certificate.pem", "key.pem"))
        before, process = file.read_text(), stack.api_pid()
        assert served(stack) == before
        (tmp_path / "renewed").mkdir()
        certificate(tmp_path / "renewed", valid_days=90)

        (tmp_path / "renewed" / file.name).replace(file)
        eventually(lambda: "have changed and cannot be used" in stack.log, lambda: stack.log)
        assert served(stack) == before

        (tmp_path / "renewed" / key_file.name).replace(key_file)
        eventually(lambda: served(stack) == file.read_text(), lambda: stack.log)
        assert file.read_text() != before
        expiry = load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()
        eventually(lambda: reported_expiry(stack, file) == expiry, lambda: stack.log)
        assert stack.api_pid() == process


def test_firestore_refuses_programs_without_the_token_of_the_stack(secure_stack: Stack) -> None:
    """Google's client sends `owner`. The processes of the stack and commands with its environment have the token."""
    with pytest.raises(Unauthenticated, match="DROPZONE_FIRESTORE_TOKEN"):
        secure_stack.firestore().document("api_keys/x").get()

    assert "local" in secure_stack.keys("list")


def test_commands_verify_the_certificate(secure_stack: Stack) -> None:
    """Like every other client. Without a trusted certificate, they name the problem."""
    environment = secure_stack.environment | {"DROPZONE_KEY": secure_stack.key}
    submit = ["-m", "dropzone", "submit", str(FIXTURE)]
    for command in (["-m", "infra.smoke"], submit):
        run = subprocess.run(
            [sys.executable, *command, "--url", secure_stack.url],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr

    del environment["SSL_CERT_FILE"]
    refused = subprocess.run(
        [sys.executable, "-m", "dropzone", "whoami", "--url", secure_stack.url],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "cannot establish a secure connection" in refused.stderr
    assert refused.stderr.endswith("set the server with --url\n"), "a retry would not help"


def test_with_a_certificate_the_warning_about_the_host_names_the_metrics_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys and samples are encrypted."""
    certificate(tmp_path)
    file, key_file = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")

    with caplog.at_level(logging.WARNING):
        warn_of_other_machines(Settings(host="192.0.2.1", tls_certificate_file=file, tls_key_file=key_file))

    [message] = caplog.messages
    assert "/metrics" in message
    assert "TLS" not in message


@pytest.mark.parametrize(
    ("certificate_file", "key_file", "problem"),
    [
        ("certificate.pem", "", "set both"),
        ("", "key.pem", "set both"),
        ("certificate.pem", "certificate.pem", "expected a certificate and its key in PEM"),
        ("missing.pem", "key.pem", "No such file or directory"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named_before_anything_starts(
    tmp_path: Path, certificate_file: str, key_file: str, problem: str
) -> None:
    """The message names both settings."""
    certificate(tmp_path)
    files = [str(tmp_path / name) if name else "" for name in (certificate_file, key_file)]

    with pytest.raises(ValueError, match=problem) as refused:
        Settings(tls_certificate_file=files[0], tls_key_file=files[1])

    assert "DROPZONE_TLS_CERTIFICATE_FILE and DROPZONE_TLS_KEY_FILE" in str(refused.value)
