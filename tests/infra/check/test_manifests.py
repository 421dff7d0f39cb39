"""Each check of the manifests finds the fault that it is for."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.check import manifests

Documents = dict[str, Any]
ALERTS = Path("infra/prometheus/alerts.yaml").read_text()


@pytest.fixture(scope="module")
def built() -> Documents:
    """The manifests of the overlay `standalone`, by kind and name."""
    documents = manifests.build("standalone", ["service-monitor"])
    return {manifests.name_of(document): document for document in documents}


def pod(documents: Documents) -> Any:
    """Return the pod of the API."""
    return documents["Deployment api"]["spec"]["template"]["spec"]


def container(documents: Documents) -> Any:
    """Return the container of the API."""
    return pod(documents)["containers"][0]


FAULTS: dict[str, Callable[[Documents], object]] = {
    "numeric user": lambda all_: pod(all_)["securityContext"].pop("runAsUser"),
    "seccomp profile": lambda all_: pod(all_)["securityContext"].pop("seccompProfile"),
    "token of the Kubernetes API": lambda all_: pod(all_).pop("automountServiceAccountToken"),
    "root file system is writable": lambda all_: container(all_)["securityContext"].pop("readOnlyRootFilesystem"),
    "has capabilities": lambda all_: container(all_)["securityContext"].pop("capabilities"),
    "has no livenessProbe": lambda all_: container(all_).pop("livenessProbe"),
    "does not declare what it needs": lambda all_: container(all_)["resources"].pop("limits"),
    "image has no version": lambda all_: container(all_).update(image="dropzone"),
    "Service api: no pod has the port": lambda all_: container(all_)["ports"][0].update(name="web"),
    "selects no pod": lambda all_: all_["NetworkPolicy clients-to-api"]["spec"]["podSelector"].update(
        matchLabels={"app.kubernetes.io/name": "apis"}
    ),
    "traffic of pods that do not exist": lambda all_: all_["NetworkPolicy events-to-function"]["spec"]["ingress"][0][
        "from"
    ][0]["podSelector"].update(matchLabels={"app.kubernetes.io/name": "eventarc"}),
    "NetworkPolicy calls-of-firestore: no pod has the port": lambda all_: all_["NetworkPolicy calls-of-firestore"][
        "spec"
    ]["egress"][0]["ports"][0].update(port="https"),
    "PodDisruptionBudget api: selects no pod": lambda all_: all_["PodDisruptionBudget api"]["spec"]["selector"].update(
        matchLabels={"app": "api"}
    ),
    "ServiceMonitor dropzone: selects no port": lambda all_: all_["ServiceMonitor dropzone"]["spec"]["endpoints"][
        0
    ].update(port="metrics"),
    "HorizontalPodAutoscaler api: scales nothing": lambda all_: all_["HorizontalPodAutoscaler api"]["spec"][
        "scaleTargetRef"
    ].update(name="web"),
    "ConfigMap other does not exist": lambda all_: container(all_)["envFrom"][0]["configMapRef"].update(name="other"),
}


@pytest.mark.parametrize("expected", FAULTS)
def test_a_fault_is_found(built: Documents, expected: str) -> None:
    """The manifests without the fault have no problem."""
    changed = copy.deepcopy(built)
    FAULTS[expected](changed)

    assert any(expected in problem for problem in problems(changed))
    assert not problems(built)


def problems(documents: Documents) -> list[str]:
    """Return the problems of policies and references."""
    return [*manifests.policy_problems(documents.values()), *manifests.reference_problems(documents.values())]


def test_an_unknown_field_is_found(built: Documents) -> None:
    """Kubernetes would ignore it."""
    deployment = copy.deepcopy(built["Deployment api"])
    deployment["spec"]["template"]["spec"]["container"] = []

    assert any("container" in problem for problem in manifests.schema_problems([deployment]))


def test_the_message_of_kustomize_is_raised() -> None:
    """An overlay that does not exist is an example."""
    with pytest.raises(ValueError, match="missing"):
        manifests.build("missing")


@pytest.mark.parametrize("overlay", ["gke", "standalone"])
def test_an_overlay_does_not_contain_its_namespace(overlay: str) -> None:
    """`kubectl delete -k` would delete the namespace, and with it the volume of Firestore and the secrets."""
    kinds = {document["kind"] for document in manifests.build(overlay, manifests.COMPONENTS)}

    assert "Namespace" not in kinds


def test_the_manifest_of_the_namespace_is_checked() -> None:
    """It belongs to no overlay. The policy `restricted` would otherwise be lost with a misspelled field."""
    [namespace] = manifests.manifest("namespace.yaml")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {document["metadata"]["namespace"] for document in manifests.build("standalone")} == {
        namespace["metadata"]["name"]
    }


def test_the_pod_for_maintenance_replaces_the_pod_of_firestore(built: Documents) -> None:
    """It has the volume, the user and the image of Firestore. The policy `restricted` accepts it."""
    [maintenance] = manifests.manifest("maintenance.yaml")
    firestore = built["StatefulSet firestore"]["spec"]
    template = firestore["template"]["spec"]
    [claim] = firestore["volumeClaimTemplates"]

    assert not [*manifests.policy_problems([maintenance]), *manifests.schema_problems([maintenance])]
    assert maintenance["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == (
        f"{claim['metadata']['name']}-firestore-0"
    )
    assert maintenance["spec"]["securityContext"] == template["securityContext"]
    assert maintenance["spec"]["containers"][0]["image"] == template["containers"][0]["image"]
    assert maintenance["spec"]["containers"][0]["volumeMounts"] == template["containers"][0]["volumeMounts"]


def of_kind(documents: Documents, kind: str) -> list[Any]:
    """Return the objects of a kind."""
    return [document for document in documents.values() if document["kind"] == kind]


def test_prometheus_scrapes_each_process(built: Documents) -> None:
    """Deliveries, the disk and commits are metrics of Firestore, and the audit is one of the function."""
    monitor = built["ServiceMonitor dropzone"]["spec"]
    [endpoint] = monitor["endpoints"]

    scraped = {
        service["metadata"]["name"]
        for service in of_kind(built, "Service")
        if manifests.selects(monitor["selector"], service["metadata"]["labels"])
        and endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    }

    assert scraped == {"api", "function", "firestore"}


def test_the_metrics_have_the_job_that_the_alerts_select(built: Documents) -> None:
    """By default, the job would be the name of the service."""
    [endpoint] = built["ServiceMonitor dropzone"]["spec"]["endpoints"]

    labels = {each["targetLabel"]: each.get("replacement") for each in endpoint["relabelings"]}

    assert {labels["job"]} == set(re.findall(r'job="(\w+)"', ALERTS))


@pytest.mark.parametrize("process", ["function", "firestore"])
def test_only_prometheus_may_connect_to_the_ports_of_metrics(built: Documents, process: str) -> None:
    """The port of Firestore also serves its administration. The port of the API is open to all clients."""
    outside = [
        peer
        for policy in of_kind(built, "NetworkPolicy")
        if manifests.selects(policy["spec"]["podSelector"], {"app.kubernetes.io/name": process})
        for rule in policy["spec"].get("ingress", ())
        if {"protocol": "TCP", "port": "http"} in rule["ports"]
        for peer in rule["from"]
        if "namespaceSelector" in peer
    ]

    assert outside == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
        }
    ]


NAME_SERVERS = {
    "kube-dns": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
    "DNS cache of a node": {"ipBlock": {"cidr": "169.254.20.10/32"}},
    "Cloud DNS": {"ipBlock": {"cidr": "169.254.169.254/32"}},
}


@pytest.mark.parametrize("name", NAME_SERVERS)
def test_each_pod_in_gke_reaches_the_name_server_of_its_cluster(name: str) -> None:
    """A cluster has one of these name servers. Without it, no process finds Firestore."""
    policies = [each for each in manifests.build("gke") if each["kind"] == "NetworkPolicy"]
    rules = [rule for each in policies if each["spec"]["podSelector"] == {} for rule in each["spec"].get("egress", ())]

    allowed = [rule["ports"] for rule in rules if NAME_SERVERS[name] in rule["to"]]

    assert [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}] in allowed
