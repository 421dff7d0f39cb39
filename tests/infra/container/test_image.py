"""The image runs as the manifests say: as three containers, without root, with a read-only root file system.

Builds nothing. Set DROPZONE_IMAGE to an image in the storage of buildah, and run this file as root.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.infra.kubernetes import workloads
from tests.stack import FIXTURE, eventually

IMAGE = os.environ.get("DROPZONE_IMAGE", "")
pytestmark = [
    pytest.mark.skipif(not IMAGE, reason="DROPZONE_IMAGE is not set"),
    pytest.mark.skipif(not (shutil.which("buildah") and shutil.which("runc")), reason="needs buildah and runc"),
]
STOP_SECONDS = 10


class Cluster:
    """Containers in a network of their own, in which every service name is the loopback address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._id = f"dropzone-{uuid.uuid4().hex[:8]}"
        self._mounted: list[str] = []
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def open(self) -> None:
        """Create the network."""
        _run("ip", "netns", "add", self._id)
        _run("ip", "-n", self._id, "link", "set", "lo", "up")
        (self._folder / "hosts").write_text("127.0.0.1 localhost firestore function api\n")

    def close(self) -> None:
        """Kill the containers and remove the network."""
        for name, process in self._running.items():
            subprocess.run(
                ["runc", "delete", "--force", f"{self._id}-{name}"],
                check=False,
                capture_output=True,
            )
            process.wait()
        for container in self._mounted:
            _run("buildah", "rm", container)
        _run("ip", "netns", "delete", self._id)

    def start(self, container: workloads.Container) -> None:
        """Start a container, and wait until its startup probe succeeds."""
        working = _run("buildah", "from", "--pull-never", IMAGE)
        self._mounted.append(working)
        bundle = self._folder / container.name
        bundle.mkdir()
        for folder in container.writable_folders:
            (bundle / folder.strip("/")).mkdir()
            shutil.chown(bundle / folder.strip("/"), container.user, container.user)
        (bundle / "config.json").write_text(
            json.dumps(self._config(container, _run("buildah", "mount", working), bundle))
        )
        with (self._folder / f"{container.name}.log").open("wb") as log:
            self._running[container.name] = subprocess.Popen(
                ["runc", "run", "--bundle", bundle, f"{self._id}-{container.name}"],
                stdout=log,
                stderr=log,
            )
        eventually(lambda: self.get(container.name, container.startup_probe) == 200, lambda: self.log(container.name))

    def get(self, name: str, address: str) -> int:
        """Return the status of a response, or 0."""
        assert self._running[name].poll() is None, self.log(name)
        return int(self.execute("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{address}"))

    def execute(self, *command: str) -> str:
        """Run a command of this machine in the network of the containers. Return its output."""
        ran = subprocess.run(["ip", "netns", "exec", self._id, *command], check=False, capture_output=True, text=True)
        return ran.stdout

    def keys(self, *arguments: str) -> str:
        """Run the keys command in the container of the API."""
        return _run(
            "runc",
            "exec",
            f"{self._id}-api",
            "/venv/bin/python",
            "-m",
            "graphql_api.auth.keys",
            *arguments,
        )

    def state(self, name: str) -> Any:
        """Return what the runtime says about a container."""
        return json.loads(_run("runc", "state", f"{self._id}-{name}"))

    def log(self, name: str) -> str:
        """Return what a container has printed."""
        return (self._folder / f"{name}.log").read_text()

    def stop(self, name: str) -> int:
        """Send SIGTERM as Kubernetes does, and return the exit code. Fails if the container runs for too long."""
        _run("runc", "kill", f"{self._id}-{name}", "TERM")
        return self._running[name].wait(STOP_SECONDS)

    def _config(self, container: workloads.Container, root: str, bundle: Path) -> Mapping[str, Any]:
        image = json.loads(_run("buildah", "inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
        environment = dict(variable.split("=", 1) for variable in image["Env"]) | dict(container.environment)
        bind = {"type": "bind", "options": ["bind", "ro"]}
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/etc/hosts", "source": str(self._folder / "hosts"), **bind},
        ]
        for folder in container.writable_folders:
            source = str(bundle / folder.strip("/"))
            mounts.append({"destination": folder, "type": "bind", "source": source, "options": ["bind", "rw"]})
        user, group = (int(each) for each in image["User"].split(":"))
        assert user == container.user
        return {
            "ociVersion": "1.0.2",
            "root": {"path": root, "readonly": True},
            "mounts": mounts,
            "process": {
                "user": {"uid": user, "gid": group},
                "cwd": image["WorkingDir"],
                "args": image["Entrypoint"] + container.arguments,
                "env": [f"{name}={value}" for name, value in environment.items()],
                "noNewPrivileges": True,
            },
            "linux": {
                "namespaces": [
                    {"type": "pid"},
                    {"type": "mount"},
                    {"type": "ipc"},
                    {"type": "network", "path": f"/run/netns/{self._id}"},
                ]
            },
        }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Firestore, function and API, with the arguments and variables of the manifests."""
    containers = workloads.standalone()
    with contextlib.ExitStack() as resources:
        cluster = Cluster(tmp_path_factory.mktemp("cluster"))
        cluster.open()
        resources.callback(cluster.close)
        for name in ("firestore", "function", "api"):
            cluster.start(containers[name])
        yield cluster


@pytest.mark.timeout(600)
def test_a_sample_is_computed(cluster: Cluster) -> None:
    """The API stores the fixture, Firestore sends the event to the function, and the API returns the result."""
    key = cluster.keys("create", "--submitter", "one", "--scopes", "submit,read").strip()
    ran = json.loads(cluster.execute(sys.executable, "-m", "dropzone", "submit", "--wait", "--key", key, str(FIXTURE)))

    assert (ran["state"], ran["result"]["mean"]) == ("COMPUTED", 0.9985282517566032)


def test_containers_end_after_sigterm(cluster: Cluster) -> None:
    """In an order in which each still works while the others stop."""
    assert {name: cluster.stop(name) for name in ("api", "function", "firestore")} == dict.fromkeys(
        ("api", "function", "firestore"), 0
    )


def _run(*command: object) -> str:
    ran = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()
