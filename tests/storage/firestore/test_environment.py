"""Which Firestore the environment selects, and what the message says if it selects none."""

import json
import logging
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import google.auth
import pytest
from joserfc.jwk import RSAKey

from storage.firestore import environment
from storage.firestore.environment import Emulator, selected_firestore


@pytest.fixture(autouse=True)
def _without_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process without variables of Google Cloud. The credentials of a process are read once."""
    for name in (
        "GOOGLE_CLOUD_PROJECT",
        "GCLOUD_PROJECT",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "KUBERNETES_SERVICE_HOST",
    ):
        monkeypatch.delenv(name, raising=False)
    environment._google_cloud.cache_clear()
    yield
    environment._google_cloud.cache_clear()


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "[::1]:8080", "firestore:8080", "unix:/run/my stack/firestore"])
def test_an_address_selects_an_emulator(address: str) -> None:
    """Its project has a default. An empty variable is the same as none."""
    environ = {"FIRESTORE_EMULATOR_HOST": address, "GOOGLE_CLOUD_PROJECT": ""}

    assert selected_firestore(environ) == Emulator(address, "owner", "dropzone-local")


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:8080/", "a b:1", "::1:1"],
)
def test_an_address_without_host_and_port_is_refused(address: str) -> None:
    """gRPC would report only that it cannot connect."""
    with pytest.raises(ValueError, match=r"^FIRESTORE_EMULATOR_HOST must be a host and a port, .*, got ") as error:
        selected_firestore({"FIRESTORE_EMULATOR_HOST": address})

    assert str(error.value).endswith(f"got {address}")


def test_without_an_emulator_credentials_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is one line, and says what to set."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))

    with pytest.raises(ValueError, match=r"^FIRESTORE_EMULATOR_HOST is not set, and .*/missing\.json was not"):
        selected_firestore({})


def test_on_google_cloud_a_project_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file can lack the project."""
    key = {
        "type": "service_account",
        "client_email": "api@example.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
        "private_key": RSAKey.generate_key(2048).as_pem(private=True).decode(),
    }
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

    with pytest.raises(ValueError, match=r"^GOOGLE_CLOUD_PROJECT is not set; set it to the id of your"):
        selected_firestore({})
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "example")
    assert selected_firestore({}).project == "example"


FAILURE = OSError("no metadata server yet")
FOUND = (object(), "example")


@pytest.mark.parametrize("is_late", [True, False], ids=["late", "never"])
def test_a_container_of_kubernetes_waits_for_credentials(
    *, is_late: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In GKE, the metadata server does not respond in the first seconds of a pod."""
    outcomes: Iterator[Any] = iter([FAILURE, FAILURE, FOUND]) if is_late else repeat(FAILURE)

    def default(**_: Any) -> Any:
        outcome = next(outcomes)
        if outcome is FAILURE:
            raise outcome
        return outcome

    monkeypatch.setattr(google.auth, "default", default)
    monkeypatch.setattr(environment, "CREDENTIALS_SECONDS", 60 if is_late else 0.1)
    monkeypatch.setattr(environment, "CREDENTIALS_PAUSE_SECONDS", 0.001)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")

    with caplog.at_level(logging.WARNING):
        if is_late:
            assert selected_firestore({}).project == "example"
        else:
            with pytest.raises(ValueError, match=r"no credentials .*: no metadata server yet$"):
                selected_firestore({})

    (line,) = caplog.messages
    assert line.startswith("waiting up to ")
    assert line.endswith(" s for the credentials of Google Cloud: no metadata server yet")
