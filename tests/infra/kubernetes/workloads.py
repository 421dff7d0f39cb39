"""The containers of the overlay `standalone`, as the manifests describe them."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SECRET = "the-secret-of-the-cluster-that-the-tests-stand-in-for"
INTERPRETER = Path(".venv-infra/bin/python")


@dataclass(frozen=True)
class Container:
    """What Kubernetes starts."""

    name: str
    arguments: list[str]
    environment: Mapping[str, str]
    user: int
    writable_folders: list[str]
    startup_probe: str
    """Port and path."""
    liveness_probe: str


def standalone() -> dict[str, Container]:
    """Return the containers by name. Skips the test if kubectl is not installed in .venv-infra."""
    if not INTERPRETER.with_name("kubectl").exists():
        pytest.skip("kubectl is not installed in .venv-infra; run: make infra-check")
    command = [str(INTERPRETER), "-m", "infra.check.manifests", "standalone"]
    documents: list[Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    settings = next(document["data"] for document in documents if document["kind"] == "ConfigMap")
    pods = [document["spec"]["template"]["spec"] for document in documents if "template" in document.get("spec", {})]
    return {pod["containers"][0]["name"]: _container(pod, settings) for pod in pods}


def _container(pod: Any, settings: Mapping[str, str]) -> Container:
    [container] = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    environment = dict(settings) if "envFrom" in container else {}
    for variable in container.get("env", ()):
        source = variable.get("valueFrom", {}).get("secretKeyRef")
        assert source in (None, {"name": "events", "key": "secret"})
        environment[variable["name"]] = SECRET if source else variable["value"]
    probes = [container[name]["httpGet"] for name in ("startupProbe", "livenessProbe")]
    startup, liveness = (f"{ports[probe['port']]}{probe['path']}" for probe in probes)
    return Container(
        container["name"],
        container["args"],
        environment,
        pod["securityContext"]["runAsUser"],
        [mount["mountPath"] for mount in container.get("volumeMounts", ())],
        startup,
        liveness,
    )
