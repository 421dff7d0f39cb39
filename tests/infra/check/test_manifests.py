"""Each check of the manifests finds the fault that it is for."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from infra.check import manifests

Documents = dict[str, Any]


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
