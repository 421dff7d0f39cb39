"""Prometheus reads the metrics of all processes, under the names that the alerts use."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.infra.kubernetes.workloads import manifests

ALERTS = Path("infra/prometheus/alerts.yaml").read_text()


def of_kind(documents: list[Any], kind: str) -> list[Any]:
    """Return the objects of a kind."""
    return [document for document in documents if document["kind"] == kind]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a selector matches."""
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def test_prometheus_scrapes_each_process() -> None:
    """Deliveries, the disk and commits are metrics of Firestore, and the audit is one of the function."""
    documents = manifests("service-monitor")
    [monitor] = of_kind(documents, "ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]

    scraped = {
        service["metadata"]["name"]
        for service in of_kind(documents, "Service")
        if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
        and endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    }

    assert scraped == {"api", "function", "firestore"}


def test_the_metrics_have_the_job_that_the_alerts_select() -> None:
    """By default, the job would be the name of the service."""
    [monitor] = of_kind(manifests("service-monitor"), "ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]

    labels = {each["targetLabel"]: each.get("replacement") for each in endpoint["relabelings"]}

    assert {labels["job"]} == set(re.findall(r'job="(\w+)"', ALERTS))


def test_only_prometheus_may_connect_to_the_ports_of_metrics() -> None:
    """The port of Firestore also serves its administration. The port of the API is open to all clients."""
    documents = manifests("service-monitor")
    policies = [policy["spec"] for policy in of_kind(documents, "NetworkPolicy")]

    for process in ("function", "firestore"):
        outside = [
            peer
            for policy in policies
            if selects(policy["podSelector"], {"app.kubernetes.io/name": process})
            for rule in policy.get("ingress", ())
            if {"protocol": "TCP", "port": "http"} in rule["ports"]
            for peer in rule["from"]
            if "namespaceSelector" in peer
        ]

        assert outside == [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
            }
        ], process
