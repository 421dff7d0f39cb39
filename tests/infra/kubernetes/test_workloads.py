"""The processes accept the arguments and variables that the manifests give them."""

import re
from pathlib import Path

import pytest

from graphql_api.configuration.settings import Settings
from infra.embedded.eventarc import schedule, trigger
from infra.embedded.firestore.__main__ import parse_arguments
from infra.embedded.stack_file import reader
from tests.infra.kubernetes.workloads import SECRET, standalone
from triggers.settings import Settings as FunctionSettings


def test_the_api_starts_with_the_manifests() -> None:
    """It listens on the port of its probes."""
    container = standalone()["api"]
    settings = Settings.from_environ(container.environment)

    assert container.arguments == ["graphql_api"]
    assert (container.startup_probe, container.liveness_probe) == (
        f"{settings.api_port}/readyz",
        f"{settings.api_port}/healthz",
    )


def test_the_function_starts_with_the_manifests() -> None:
    """It listens on the port of its probes, and knows the secret of events."""
    container = standalone()["function"]
    settings = FunctionSettings.from_environ(container.environment)

    assert container.arguments == ["triggers"]
    assert settings.event_secret == SECRET
    assert (container.startup_probe, container.liveness_probe) == (
        f"{settings.function_port}/readyz",
        f"{settings.function_port}/healthz",
    )


def test_firestore_sends_events_and_audits_to_the_service_of_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stores its data on the volume."""
    container = standalone()["firestore"]
    module, *arguments = container.arguments
    monkeypatch.setattr("sys.argv", ["firestore", *arguments])
    for name, value in container.environment.items():
        monkeypatch.setenv(name, value)
    parsed = parse_arguments()
    described = reader.read(parsed.triggers, container.environment)
    [sent], [audit, rollups] = trigger.read(described.triggers), schedule.read(described.schedules)

    assert module == "infra.embedded.firestore"
    assert (sent.url, sent.token) == ("http://function:8081/", SECRET)
    assert (audit.url, rollups.url) == ("http://function:8081/audit", "http://function:8081/rollups")
    assert str(parsed.data.parent) in container.writable_folders
    assert container.environment["FIRESTORE_EMULATOR_HOST"] == f"firestore:{parsed.port}"
    assert container.startup_probe == f"{parsed.http_port}/healthz"
    assert parsed.log_format == "json"  # as the API and the function


def test_a_restore_stops_every_process_and_starts_firestore_first() -> None:
    """A function that ran before the restore did not store series that were missing in the backup."""
    folder = Path(__file__).parents[3] / "infra/kubernetes"
    manifests = "".join(
        path.read_text() for path in [*folder.glob("base/*.yaml"), *folder.glob("overlays/standalone/*")]
    )
    workloads = re.findall(r"^kind: (Deployment|StatefulSet)\nmetadata:\n  name: (.+)$", manifests, re.MULTILINE)
    names = {f"{kind.lower()}/{name}" for kind, name in workloads}

    scaled = re.findall(
        r"kubectl -n dropzone scale (.+) --replicas (\d)$", (folder / "README.md").read_text(), re.MULTILINE
    )

    steps = [(set(targets.split()), count) for targets, count in scaled]
    assert len(names) == 3
    assert steps == [
        (names, "0"),
        ({"statefulset/firestore"}, "1"),
        (names - {"statefulset/firestore"}, "2"),
    ]
