"""The table of `make load`: ratios, the change since the last run, warnings, and what its rows cover."""

import re
from pathlib import Path

from tests.graphql_api.web.operations import operations
from tests.load import __main__, last_figures, table
from tests.load.machine import Activity
from tests.load.plan import Form
from tests.load.rows.results import dashboard
from tests.load.table import NODE, RATIO, Figure, Row

SUBMITS = Row("submits", Figure(3_000, "/s"), {NODE: Figure(1_000, "/s")})
START = Row("start", Figure(2, "s", more_is_better=False))
SHARE = Row("share", Figure(0.25, RATIO, "of 4,000/s"))
FAILED = Row("large", problem="no memory")


def test_ratios_come_before_the_table() -> None:
    """Only rows with a ratio are listed there."""
    ratios, _, rest = table.text([START, SUBMITS, SHARE, FAILED], {}).partition("\n\n")

    assert [line.split() for line in ratios.split("\n")] == [
        ["submits", "3", "x", "Node", "peer"],
        ["share", "0.25", "of", "4,000/s"],
    ]
    assert rest.startswith("What ")
    assert "FAILED: no memory" in rest


def test_a_row_has_its_change_since_the_last_run_of_the_same_form(tmp_path: Path) -> None:
    """A run of some groups keeps the figures of the others."""
    path = tmp_path / "last.json"
    last_figures.write(path, Form.SHORT, [SUBMITS, FAILED], "yesterday")
    last_figures.write(path, Form.SHORT, [START], "today")
    faster = Row("submits", Figure(3_300, "/s"))

    changes = last_figures.changes(last_figures.read(path, Form.SHORT), [faster, START, SHARE])

    assert changes == {"submits": "+10% since yesterday", "start": "+0% since today"}
    assert "+10% since yesterday" in table.text([faster], changes)
    assert last_figures.read(path, Form.LONG) == {}


def test_figures_in_another_unit_or_of_a_damaged_file_are_not_compared(tmp_path: Path) -> None:
    """The next run replaces such a file."""
    path = tmp_path / "last.json"
    path.write_text("{")

    assert last_figures.read(path, Form.USUAL) == {}
    assert last_figures.changes({"start": {"value": 2, "unit": "ms", "measured": ""}}, [START]) == {}


def test_a_busy_machine_is_reported() -> None:
    """The load average alone is that of the last minutes, so the use of the processors decides."""
    idle, busy = Activity((9.0, 9.0, 9.0), 0.02), Activity((0.1, 0.1, 0.1), 0.5)

    assert __main__.warnings(idle, idle, 0.0) == []
    assert __main__.warnings(busy, idle, 0.1) == [
        "WARNING: the machine was busy: other processes used 50% of the processors before the run",
        "WARNING: the machine was busy: the hypervisor gave 10% of the CPU time to other machines",
    ]


def test_the_machine_can_be_observed() -> None:
    """A share is between 0 and 1, also where the system does not tell."""
    assert 0 <= Activity.look(seconds=0.01).used <= 1


def test_the_documented_groups_are_those_of_the_command() -> None:
    """A reader chooses groups from docs/performance.md."""
    (listed,) = re.findall(r"^Groups: ([^.]*)\.", Path("docs/performance.md").read_text(), re.MULTILINE)

    assert re.findall(r"`([^`]+)`", listed) == list(__main__.GROUPS)


def test_the_first_load_of_the_dashboard_has_each_of_its_operations_or_leaves_it_out_on_purpose() -> None:
    """A new operation must not be missing from the row."""
    assert sorted([*dashboard.FIRST_LOAD, *dashboard.LATER]) == sorted(operations())
