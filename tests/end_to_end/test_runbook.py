"""The commands of the runbook in docs/operating.md work while a stack runs."""

import re
import subprocess
import sys
from pathlib import Path

from tests.stack import Stack

OPERATING = Path("docs/operating.md").read_text()
RUNBOOK = OPERATING[OPERATING.index("## Runbook\n") : OPERATING.index("## Long runs\n")]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", RUNBOOK, re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_runbook_work(stack: Stack) -> None:
    """They run in order, in one shell."""
    script = "".join(BLOCKS).replace(".venv/bin/python", sys.executable)
    script = script.replace(".dropzone/firestore.sqlite", str(stack.data_file)).replace(":8000", f":{stack.api_port}")

    ran = subprocess.run(["bash", "-ec", script], check=False, capture_output=True, text=True)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "on_sample_written\n    changes to deliver: " in ran.stdout
    assert re.search(r"^dead letters to send again: \d+$", ran.stdout, re.MULTILINE)
