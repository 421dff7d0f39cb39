"""The commands of the runbook in docs/operating.md work while a stack runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.stack import Stack

OPERATING = Path("docs/operating.md").read_text()
RUNBOOK = OPERATING[OPERATING.index("## Runbook\n") : OPERATING.index("## Long runs\n")]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", RUNBOOK, re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_runbook_work(stack: Stack) -> None:
    """They run in order, in one shell. `lsof` is not installed everywhere. The stack has no dead letter to discard.

    The repair of a damaged file needs a stopped stack: `tests/infra/firestore/data_file/test_damaged_documents.py`.
    """
    key = stack.new_key("runbook", "submit,read,admin")
    unneeded = stack.submit({"time_stamp": "2026-11-27T00:00:00Z", "data": [1], "labels": {"site": "test"}}, key=key)
    stack.wait_for(unneeded["id"], key=key)
    running = [block for block in BLOCKS if "make run" not in block]
    blocks = [block for block in running if "lsof" not in block or shutil.which("lsof")]
    script = "".join(blocks).replace(".venv/bin/python", sys.executable)
    assert script.count("$python -m infra.embedded.eventarc dead-letters discard 2041 ") == 1
    script = re.sub(r"^(?=.* discard 2041 )", "! ", script, flags=re.MULTILINE)  # must fail
    script = script.replace(".dropzone/firestore.sqlite", str(stack.data_file)).replace(":8000", f":{stack.api_port}")

    environment = os.environ | {"DROPZONE_URL": stack.url, "DROPZONE_KEY": key}

    ran = subprocess.run(["bash", "-ec", script], check=False, capture_output=True, text=True, env=environment)

    *refusal, end = ran.stderr.splitlines()
    assert (ran.returncode, end) == (0, "no problems found")
    assert [line.partition(";")[0] for line in refusal] == ["expected sequence numbers of dead letters, got 2041"]
    assert "on_sample_written\n    changes to deliver: " in ran.stdout
    assert re.search(r"^dead letters to send again: \d+$", ran.stdout, re.MULTILINE)
    assert stack.sample(unneeded["id"], key=key) is None
    if shutil.which("lsof"):
        assert "firestore.sqlite" in ran.stdout.rpartition("COMMAND")[2]
