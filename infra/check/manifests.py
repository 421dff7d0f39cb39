"""Builds the Kubernetes manifests, validates them against strict schemas, and checks their policies.

`python -m infra.check.manifests OVERLAY` prints the manifests of an overlay as JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from infra.check import programs

FOLDER = Path("infra/kubernetes")
VERSIONS = ("1.34", "1.37")
"""The oldest version of Kubernetes that has all features of the manifests, and the newest released version."""

CUSTOM_KINDS = frozenset({"ServiceMonitor"})
"""Kinds that Kubernetes itself does not define. They have no schema."""

COMPONENTS = ("service-monitor",)
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

Document = Mapping[str, Any]


def check() -> list[str]:
    """Return the problems of all overlays, each with and without the optional components."""
    overlays = sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))
    separate = [*manifest("namespace.yaml"), *manifest("maintenance.yaml")]
    problems = [*schema_problems(separate), *policy_problems(separate)]
    for overlay in overlays:
        build(overlay)
        documents = build(overlay, COMPONENTS)
        found = [*schema_problems(documents), *policy_problems(documents), *reference_problems(documents)]
        problems += [f"{overlay}: {problem}" for problem in found]
    return problems


def build(overlay: str, components: Iterable[str] = ()) -> list[Document]:
    """Return the manifests of an overlay. Raises `ValueError` with the message of kustomize."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(os.path.relpath(FOLDER.resolve(), Path(scratch).resolve()))
        kustomization = {
            "resources": [str(root / "overlays" / overlay)],
            "components": [str(root / "components" / name) for name in components],
            "namespace": "dropzone",
        }
        (Path(scratch) / "kustomization.yaml").write_text(json.dumps(kustomization))
        command = [str(programs.installed("kubectl")), "kustomize", scratch]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise ValueError(f"{overlay}: {ran.stderr.strip()}")
    return list(yaml.safe_load_all(ran.stdout))


def manifest(name: str) -> list[Document]:
    """Return the content of a manifest that is not part of an overlay."""
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def schema_problems(documents: Iterable[Document]) -> Iterator[str]:
    """Yield the violations of the schemas of Kubernetes. Unknown fields are violations too."""
    for document in documents:
        if document["kind"] in CUSTOM_KINDS:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{name_of(document)}: {error.message} - at {'.'.join(map(str, error.path))}"


def policy_problems(documents: Iterable[Document]) -> Iterator[str]:
    """Yield violations of the pod security standard `restricted`, and missing settings of containers."""
    for document in documents:
        template = pod_template(document)
        if template is None:
            continue
        name, pod = name_of(document), template["spec"]
        security = pod.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
            yield f"{name}: does not run as a numeric user without privileges"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: has no seccomp profile"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: gets a token of the Kubernetes API, which it does not need"
        probes = () if document["kind"] in ("CronJob", "Pod") else PROBES
        for container in pod["containers"]:
            yield from (f"{name}: {problem}" for problem in _container_problems(container, probes))


def _container_problems(container: Document, probes: Iterable[str]) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("readOnlyRootFilesystem") is not True:
        yield "its root file system is writable"
    if security.get("allowPrivilegeEscalation") is not False or security.get("capabilities") != {"drop": ["ALL"]}:
        yield "has capabilities, or can get them"
    yield from (f"has no {probe}" for probe in probes if probe not in container)
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
        yield "does not declare what it needs: cpu and memory, and a limit of memory"
    if container["image"].rpartition(":")[2] in ("latest", container["image"]):
        yield "its image has no version"


def reference_problems(documents: Iterable[Document]) -> Iterator[str]:
    """Yield references to objects, labels and ports that do not exist."""
    objects = list(documents)
    for each in objects:
        problems = _REFERENCE_CHECKS.get(each["kind"], _no_problems)
        yield from (f"{name_of(each)}: {problem}" for problem in problems(each.get("spec", {}), objects))
    for each in objects:
        template = pod_template(each)
        if template is not None:
            yield from (f"{name_of(each)}: {problem}" for problem in _pod_problems(template["spec"], objects))


def _pod_problems(pod: Document, objects: list[Document]) -> Iterator[str]:
    wanted = [f"ServiceAccount {pod['serviceAccountName']}"]
    for container in pod["containers"]:
        wanted += [f"ConfigMap {source['configMapRef']['name']}" for source in container.get("envFrom", ())]
    names = set(map(name_of, objects))
    yield from (f"{each} does not exist" for each in wanted if each not in names)


def _service_problems(spec: Document, objects: list[Document]) -> Iterator[str]:
    ports = _ports(_selected_pods({"matchLabels": spec["selector"]}, objects))
    yield from (f"no pod has the port {each}" for each in _named_ports(spec) if each not in ports)


def _disruption_budget_problems(spec: Document, objects: list[Document]) -> Iterator[str]:
    if not _selected_pods(spec["selector"], objects):
        yield "selects no pod"


def _service_monitor_problems(spec: Document, objects: list[Document]) -> Iterator[str]:
    services = [each for each in objects if each["kind"] == "Service"]
    selected = [each for each in services if selects(spec["selector"], each["metadata"].get("labels", {}))]
    if spec["endpoints"][0]["port"] not in [port["name"] for each in selected for port in each["spec"]["ports"]]:
        yield "selects no port of a service"


def _autoscaler_problems(spec: Document, objects: list[Document]) -> Iterator[str]:
    target = spec["scaleTargetRef"]
    if f"{target['kind']} {target['name']}" not in map(name_of, objects):
        yield "scales nothing"


def _network_policy_problems(spec: Document, objects: list[Document]) -> Iterator[str]:
    selected = _selected_pods(spec["podSelector"], objects)
    if not selected:
        yield "selects no pod"
    for direction, key in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction, ()):
            peers = [
                peer["podSelector"]
                for peer in rule.get(key, ())
                if "podSelector" in peer and "namespaceSelector" not in peer  # pods of other namespaces are not ours
            ]
            called = [pod for peer in peers for pod in _selected_pods(peer, objects)]
            if peers and not called:
                yield "allows traffic of pods that do not exist"
            ports = _ports(selected if direction == "ingress" else called)
            named = [port["port"] for port in rule.get("ports", ()) if isinstance(port["port"], str)]
            yield from (f"no pod has the port {each}" for each in named if each not in ports)


def _no_problems(spec: Document, objects: list[Document]) -> Iterator[str]:
    del spec, objects
    return iter(())


_REFERENCE_CHECKS: Mapping[str, Callable[[Document, list[Document]], Iterator[str]]] = {
    "HorizontalPodAutoscaler": _autoscaler_problems,
    "NetworkPolicy": _network_policy_problems,
    "PodDisruptionBudget": _disruption_budget_problems,
    "Service": _service_problems,
    "ServiceMonitor": _service_monitor_problems,
}
"""The check of the references in an object, by its kind. It gets the `spec` of the object, and all objects."""


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector selects an object with these labels. It may use the operator `In`."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def pod_template(document: Document) -> Document | None:
    """Return the template of the pods that an object starts, or None. A pod is its own template."""
    if document["kind"] == "Pod":
        return document
    spec = document.get("spec", {})
    template: Document | None = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    return template


def _selected_pods(selector: Document, objects: Iterable[Document]) -> list[Document]:
    templates = [template for each in objects if (template := pod_template(each)) is not None]
    return [template for template in templates if selects(selector, template["metadata"]["labels"])]


def name_of(document: Document) -> str:
    """Return kind and name of an object."""
    return f"{document['kind']} {document['metadata']['name']}"


def _ports(pods: Iterable[Document]) -> set[str]:
    return {port["name"] for pod in pods for each in pod["spec"]["containers"] for port in each.get("ports", ())}


def _named_ports(service: Document) -> list[str]:
    return [port["targetPort"] for port in service["ports"]]


if __name__ == "__main__":
    json.dump(build(sys.argv[1]), sys.stdout)
