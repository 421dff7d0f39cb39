"""What the README says is true."""

import re
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path

from graphql_api.settings import Settings
from tests.stack import Stack

README = Path("README.md").read_text()
STACK = tomllib.loads(Path("infra/embedded/stack.toml").read_text())
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def test_the_commands_print_what_they_are_said_to_print(own_stack: Stack, tmp_path: Path) -> None:
    """In their order, in one shell; `…` stands for what differs each time."""
    own_stack.wait_for(own_stack.submit_fixture()["id"])
    script = "set -eu\n" + "".join(BLOCKS)
    for port, own in ((8000, own_stack.api_port), (8080, own_stack.firestore_port)):
        script = script.replace(f":{port}", f":{own}")
    script = script.replace(".dropzone/", f"{own_stack.environment['DROPZONE_DATA_DIR']}/")
    expected = [line[2:] for block in BLOCKS for line in block.splitlines() if line.startswith("# ")]

    environment = own_stack.environment | {"DROPZONE_URL": own_stack.url, "XDG_STATE_HOME": str(tmp_path)}
    command = ["bash", "-c", script.replace("# ", "echo; # ")]

    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)

    printed = [line for line in ran.stdout.splitlines() if line]
    assert len(printed) == len(expected)
    for line, said in zip(printed, expected, strict=True):
        assert re.fullmatch(".+".join(map(re.escape, said.split("…"))), line)


def test_every_setting_is_listed_with_its_default() -> None:
    """A setting that the README does not list is no setting."""
    listed = dict(re.findall(r"^\| `(DROPZONE_\w+)` \| (?:`([^`]*)`)?[^|]*\|", README, re.MULTILINE))
    wanted = {f"DROPZONE_{f.name.upper()}": str(f.default) for f in fields(Settings)}
    wanted |= {f"DROPZONE_{name.upper()}": str(value) for name, value in STACK["settings"].items()}

    assert listed == wanted
