"""Print the dashboard for Grafana, generated from the list of signals: `python -m infra.prometheus`.

The list is infra/gcp/signals.json. Terraform generates the dashboard of Cloud Monitoring from the same list.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SIGNALS = Path("infra/gcp/signals.json")
COLUMNS, HEIGHT = 24, 8
"""The width of Grafana's grid, and the height of a panel."""


def dashboard(signals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the dashboard: two panels in a row, one for each signal that Prometheus has."""
    shown = [signal for signal in signals if "prometheus" in signal]
    return {
        "title": "Dropzone",
        "uid": "dropzone",
        "schemaVersion": 39,
        "tags": ["dropzone"],
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}]
        },
        "panels": [_panel(place, signal) for place, signal in enumerate(shown)],
    }


def _panel(place: int, signal: Mapping[str, Any]) -> dict[str, Any]:
    row, column = divmod(place, 2)
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": signal["title"],
        "gridPos": {"h": HEIGHT, "w": COLUMNS // 2, "x": column * COLUMNS // 2, "y": row * HEIGHT},
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": {"unit": signal["unit"], "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": query["expression"], "legendFormat": query["legend"]}
            for number, query in enumerate(signal["prometheus"])
        ],
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(json.loads(SIGNALS.read_text())), indent=2))
