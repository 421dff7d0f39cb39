"""Both dashboards come from one list of signals. `make infra-check` tests the one of Cloud Monitoring."""

import json
from pathlib import Path

from infra.prometheus.__main__ import SIGNALS, dashboard

signals = json.loads(SIGNALS.read_text())


def test_the_dashboard_for_grafana_is_the_one_of_the_list() -> None:
    """After a change of the list, run `make dashboard`."""
    assert json.loads(Path("infra/prometheus/dashboard.json").read_text()) == dashboard(signals)


def test_each_signal_is_in_both_dashboards_or_says_why_not() -> None:
    """A signal that is in both needs no reason."""
    for signal in signals:
        places = {"prometheus", "google"} & signal.keys()

        assert places, signal["title"]
        assert ("reason" in signal) == (len(places) == 1), signal["title"]
        assert signal.keys() <= {"title", "unit", "prometheus", "google", "reason"}


def test_titles_are_unique() -> None:
    """A title names one signal."""
    assert len({signal["title"] for signal in signals}) == len(signals)
