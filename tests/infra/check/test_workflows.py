"""actionlint and zizmor find faults in the workflows."""

import shutil
from pathlib import Path

from infra.check import workflows

FAULTS = [
    ("github.event_name", "github.event_names", 'property "event_names" is not defined'),
    ("runs-on: ubuntu-24.04", "runs-on: ubuntu-24.4", 'label "ubuntu-24.4" is unknown'),
    ("persist-credentials: false", "persist-credentials: true", "artipacked"),
    ("@7c6bc770dae815cd3e89ee6cdf493a5fab2cc093 # v3.0.0", "@v3", "unpinned-uses"),
    ('PROJECT="$PROJECT"', "PROJECT=${{ github.head_ref }}", "template-injection"),
    ("permissions: {}", "permissions: write-all", "excessive-permissions"),
]
"""A text of the workflow, the text that replaces it, and a part of the problem."""


def test_each_fault_of_a_workflow_is_reported(tmp_path: Path) -> None:
    """The workflows without them have no problem; `make infra-check` checks that."""
    folder = tmp_path / ".github"
    shutil.copytree(workflows.FOLDER, folder)
    changed = folder / "workflows" / "deploy.yml"
    text = changed.read_text()
    for before, after, _ in FAULTS:
        assert before in text
        text = text.replace(before, after)
    changed.write_text(text)

    found = "\n".join(workflows.check(folder))

    assert [expected for _, _, expected in FAULTS if expected not in found] == []
