"""Google's identity tokens are checked with a key pair of the test, and the function proves who it is."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import google.auth.crypt
import google.auth.jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from storage.documents import Unavailable
from tests.triggers.machine import SECRET, Machine, event_body, event_headers
from tests.triggers.samples import new_sample
from triggers.authentication.google_identity import GoogleIdentity
from triggers.settings import Settings

_jwt: Any = google.auth.jwt  # the library has no type hints
_RSASigner: Any = google.auth.crypt.RSASigner
AUDIENCE = "https://function.example"
OTHER_AUDIENCE = "https://function-123.europe-west6.run.app"
ACCOUNT = "eventarc@project.iam.gserviceaccount.com"


class KeyPair:
    """A key that signs tokens as Google does."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._signer = _RSASigner.from_string(private, key_id="one")

    def token(self, **changes: object) -> bytes:
        """Return a valid token with `changes` to its claims."""
        now = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "email": ACCOUNT,
            "email_verified": True,
            "iat": now,
            "exp": now + 3_600,
        }
        token: bytes = _jwt.encode(self._signer, claims | changes)
        return token


class Certificates:
    """An HTTP server with the public key."""

    def __init__(self, public: bytes) -> None:
        outer = self
        self.requests = 0
        self.status = 200

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                body = json.dumps({"one": public.decode()}).encode()
                self.send_response(outer.status)
                self.send_header("cache-control", "public, max-age=3600")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is that of the library
                del format, args

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture(scope="module")
def keys() -> KeyPair:
    """A key pair."""
    return KeyPair()


@pytest.fixture
def certificates(keys: KeyPair) -> Iterator[Certificates]:
    """A running server with the public key."""
    certificates = Certificates(keys.public)
    thread = threading.Thread(target=certificates.server.serve_forever)
    thread.start()
    yield certificates
    certificates.server.shutdown()
    thread.join()
    certificates.server.server_close()


@pytest.fixture
def identity(certificates: Certificates) -> GoogleIdentity:
    """The check of the function's audiences and service account."""
    return GoogleIdentity([OTHER_AUDIENCE, AUDIENCE], ACCOUNT, certificates.url)


async def test_a_token_of_the_service_account_is_accepted(
    identity: GoogleIdentity, keys: KeyPair, certificates: Certificates
) -> None:
    """The keys are fetched once."""
    tokens = [keys.token(sub=str(number)) for number in range(3)]

    assert [await identity.accepts(token) for token in tokens * 2] == [True] * 6
    assert certificates.requests == 1


async def test_each_audience_of_the_settings_is_accepted(identity: GoogleIdentity, keys: KeyPair) -> None:
    """Cloud Run serves the function under two URLs, and Eventarc uses one of them."""
    settings = Settings(event_audience=f"{OTHER_AUDIENCE},{AUDIENCE}", event_service_account=ACCOUNT)

    assert settings.event_audiences == [OTHER_AUDIENCE, AUDIENCE]
    assert [await identity.accepts(keys.token(aud=each)) for each in settings.event_audiences] == [True, True]


async def test_a_star_in_an_audience_matches_the_hash_of_a_url(keys: KeyPair, certificates: Certificates) -> None:
    """It matches no other characters, so it cannot match another host."""
    identity = GoogleIdentity(["https://function-*.a.run.app"], ACCOUNT, certificates.url)

    assert await identity.accepts(keys.token(aud="https://function-x7k2-oa.a.run.app"))
    for audience in (
        "https://function-.a.run.app",
        "https://function-x7k2-oa.example.org/.a.run.app",
        "https://function-x7k2-oa.a.run.app.example.org",
        "https://function-x7k2-oaXaXrun.app",
        "https://other-x7k2-oa.a.run.app",
        ["https://function-x7k2-oa.a.run.app"],
    ):
        assert not await identity.accepts(keys.token(aud=audience))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example"},
        {"iss": "https://evil.example"},
        {"email": "other@project.iam.gserviceaccount.com"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"exp": int(time.time()) - 60, "iat": int(time.time()) - 120},
        {"iat": int(time.time()) + 7_200, "exp": int(time.time()) + 9_000},
    ],
    ids=" ".join,  # values that depend on the time would give each test process other tests
)
async def test_another_token_of_google_is_refused(
    identity: GoogleIdentity, keys: KeyPair, changes: dict[str, object]
) -> None:
    """Google signs tokens for everyone."""
    assert not await identity.accepts(keys.token(**changes))


async def test_a_token_of_another_key_is_refused(identity: GoogleIdentity, keys: KeyPair) -> None:
    """The signature is checked, and a token without a signature is not accepted."""
    token = keys.token()
    head, claims, _ = token.split(b".")

    assert not await identity.accepts(KeyPair().token())
    for forged in (b"", b"a.b.c", b"%b.%b." % (head, claims), token[:-8] + b"AAAAAAAA", token + bytes(5_000)):
        assert not await identity.accepts(forged)


async def test_while_the_keys_cannot_be_read_no_token_is_judged(
    identity: GoogleIdentity, keys: KeyPair, certificates: Certificates
) -> None:
    """The function responds with 503 then, so that Eventarc sends the event again."""
    certificates.status = 500

    for _ in range(3):
        with pytest.raises(Unavailable, match="cannot read the keys of Google"):
            await identity.accepts(keys.token())
    assert certificates.requests == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "no sender of events is configured"),
        ({"EVENT_SECRET": "short"}, "at least 32"),
        ({"EVENT_SECRET": f"{SECRET}\n"}, "without spaces and without a line end"),
        ({"EVENT_AUDIENCE": AUDIENCE}, "set both"),
        ({"EVENT_SECRET": SECRET, "EVENT_AUDIENCE": AUDIENCE, "EVENT_SERVICE_ACCOUNT": ACCOUNT}, "but not both"),
    ],
    ids=["nothing", "short secret", "line end", "half of the identity", "both"],
)
def test_settings_that_do_not_say_who_may_send_events_are_rejected(environment: dict[str, str], message: str) -> None:
    """Exactly one way is configured."""
    with pytest.raises(ValueError, match=message):
        Settings.from_environ({f"DROPZONE_{name}": value for name, value in environment.items()})


def test_the_function_does_not_start_without_a_sender() -> None:
    """The message says what to set. It prints no traceback."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DROPZONE_")}
    command = [sys.executable, "-m", "triggers"]

    ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)

    assert ended.returncode == 1
    assert ended.stderr.startswith("error: no sender of events is configured: set DROPZONE_EVENT_SECRET")


async def test_a_liveness_probe_with_a_nonce_proves_who_responds(machine: Machine) -> None:
    """Another process on the same port does not know the secret."""
    expected = hmac.new(SECRET.encode(), b"healthz:a-nonce", hashlib.sha256).hexdigest()

    assert (await machine.http.get("/healthz")).json() == {"status": "ok"}
    assert (await machine.http.get("/healthz", headers={"x-nonce": "a-nonce"})).json() == {
        "status": "ok",
        "proof": expected,
    }
    assert (await machine.http.get("/healthz", headers={"x-nonce": "a nonce"})).json() == {"status": "ok"}


async def test_the_path_of_an_event_can_hold_the_secret(machine: Machine, submitter: str) -> None:
    """Some senders cannot send a header. Another token in the path is refused, even if the header is valid."""
    sample = new_sample(submitter)
    document = await machine.store(sample)
    headers = event_headers(document.name.partition("/documents/")[2])
    body = event_body(document)

    forged = await machine.http.post("/events/x", content=body, headers=headers)
    del headers["authorization"]
    accepted = await machine.http.post(f"/events/{SECRET}", content=body, headers=headers)

    assert (forged.status_code, accepted.status_code) == (401, 200)
    assert (await machine.result(sample)).exists
