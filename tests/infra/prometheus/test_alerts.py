"""The alerts for Prometheus and the dashboard for Grafana."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.alerts.rules import scaled
from tests.stack import Stack, eventually

FOLDER = Path("infra/prometheus")
ALERTS = (FOLDER / "alerts.yaml").read_text()
NAMES = re.findall(r"- alert: (\w+)", ALERTS)
METRIC = re.compile(r"\b((?:dropzone|firestore|eventarc|process)_[a-z_]+)\b")
RUNBOOK = Path("docs/operating.md").read_text()


def test_alerts_and_panels_use_metrics_that_exist(stack: Stack) -> None:
    """A renamed metric would silence an alert."""
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    expressions += re.findall(r"expr: ((?:\|\n(?: {10}.*\n)+|.*))", ALERTS)

    used = {name for expression in expressions for name in METRIC.findall(expression)}

    assert len(used) > 15
    eventually(lambda: used <= names(stack), lambda: f"unknown metrics: {used - names(stack)}")


def names(stack: Stack) -> set[str]:
    """Return the names of all metrics. Those of a process that responds too late are not among them."""
    text = stack.get("/metrics").text
    return set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE)) | set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_a_section_in_the_runbook_and_a_test(name: str) -> None:
    """The annotation `runbook` is the address of the section, which names the alert."""
    rule = ALERTS[ALERTS.index(f"- alert: {name}\n") :].split("- alert:")[1]
    found = re.search(r"runbook: docs/operating\.md#([\w-]+)", rule)
    assert found is not None
    title = found[1].replace("-", " ")
    section = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL | re.IGNORECASE)

    assert section is not None
    assert f"`{name}`" in section[1]
    assert re.search(rf"alertname: {name}\n\s+exp_alerts:\n", (FOLDER / "alerts_test.yaml").read_text())


def test_each_alert_is_caused_by_make_alerts() -> None:
    """`make alerts` takes minutes and needs Prometheus, so `make test` does not run it."""
    causes = "".join(file.read_text() for file in Path("tests/alerts").glob("test_*.py"))

    assert [name for name in NAMES if f'"{name}"' not in causes] == []
    assert re.findall(r"[\[ ]\d+[mh](?:\]|$)", scaled(ALERTS), re.MULTILINE) == []


@pytest.mark.slow
@pytest.mark.timeout(600)  # 5 s of CPU time
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_each_alert_fires_and_is_silent() -> None:
    """Promtool evaluates the rules on series that the tests describe."""
    subprocess.run(["promtool", "test", "rules", "alerts_test.yaml"], check=True, cwd=FOLDER)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_metrics(stack: Stack) -> None:
    """Names, units and texts follow the rules of Prometheus."""
    text = stack.get("/metrics").text

    checked = subprocess.run(["promtool", "check", "metrics"], input=text, check=False, text=True, capture_output=True)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
