"""The commands of README and of the guides are correct, and the guides list all settings and endpoints."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from starlette.routing import Route, WebSocketRoute

from graphql_api.app import create_app
from graphql_api.configuration.limits import Limits
from graphql_api.configuration.setting_names import CLIENT_SETTINGS, FUNCTION_SETTINGS, STACK_SETTINGS
from graphql_api.configuration.settings import Settings
from graphql_api.errors import HTTP_STATUS
from tests.stack import Stack
from triggers.settings import Settings as FunctionSettings

README, API, CLIENTS = (Path(name).read_text() for name in ("README.md", "docs/api.md", "docs/clients.md"))
SETTINGS = Path("docs/configuration.md").read_text() + Path("docs/security.md").read_text()
STACK = tomllib.loads(Path("infra/embedded/stack.toml").read_text())
BLOCKS = re.findall(r"```sh\n(.*?)```", README + API + CLIENTS, re.DOTALL)


def test_the_commands_print_the_documented_output(own_stack: Stack) -> None:
    """They run in order, in one shell. `…` stands for text that differs in each run."""
    own_stack.wait_for(own_stack.submit_fixture()["id"])
    script = "set -eu\n" + "".join(BLOCKS)
    for port, own in ((8000, own_stack.api_port), (8080, own_stack.firestore_port)):
        script = script.replace(f":{port}", f":{own}")
    script = script.replace(".dropzone/", f"{own_stack.environment['DROPZONE_DATA_DIR']}/")
    expected = [line[2:] for block in BLOCKS for line in block.splitlines() if line.startswith("# ")]

    environment = own_stack.environment | {"DROPZONE_URL": own_stack.url}
    command = ["bash", "-c", script.replace("# ", "echo; # ")]

    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)

    printed = [line for line in ran.stdout.splitlines() if line]
    assert len(printed) == len(expected)
    for line, documented in zip(printed, expected, strict=True):
        assert re.fullmatch(".+".join(map(re.escape, documented.split("…"))), line)


def test_the_python_examples_define_what_they_use() -> None:
    """A reader can paste each of them into a file. The last one uses the key of the one before it."""
    blocks = re.findall(r"```python\n(.*?)```", README + CLIENTS, re.DOTALL)
    ruff = str(Path(sys.executable).with_name("ruff"))

    for block in blocks:
        command = [ruff, "check", "--isolated", "--select", "F821", "--config", 'builtins=["key"]', "-"]
        checked = subprocess.run(command, input=block, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout

    assert len(blocks) == 3


def test_every_setting_is_listed_with_its_default() -> None:
    """docs/configuration.md and docs/security.md list the settings of all processes, and no others."""
    listed = dict(re.findall(r"^\| `(DROPZONE_\w+)` \| (?:`([^`]*)`)?[^|]*\|", SETTINGS, re.MULTILINE))
    own = [field for field in (*fields(Settings), *fields(Limits)) if field.name != "limits"]
    defaults = {f"DROPZONE_{field.name.upper()}": str(field.default) for field in own}
    defaults |= {f"DROPZONE_{name.upper()}": str(value) for name, value in STACK["settings"].items()}
    defaults |= {f"DROPZONE_{field.name.upper()}": str(field.default) for field in fields(FunctionSettings)}

    assert listed == defaults


def test_the_api_knows_the_settings_of_the_other_processes() -> None:
    """It rejects unknown names, so its lists must be complete. The documents list all of them."""
    stack_only = set(STACK["settings"]) - set(Settings.names())
    variables = set(re.findall(r"`DROPZONE_(\w+)`", SETTINGS)) - {"URL", "KEY", "LOGIN_SECRET"}

    assert set(STACK_SETTINGS) == stack_only
    assert {name.upper() for name in (*STACK_SETTINGS, *FUNCTION_SETTINGS, *Settings.names())} == variables
    others = {*Settings.names(), *STACK_SETTINGS}
    only_function = [field.name for field in fields(FunctionSettings) if field.name not in others]
    assert list(FUNCTION_SETTINGS) == only_function
    assert {f"DROPZONE_{name.upper()}" for name in CLIENT_SETTINGS} <= set(re.findall(r"DROPZONE_[A-Z_]+", CLIENTS))


def test_every_endpoint_is_listed() -> None:
    """docs/api.md lists the path of each route."""
    routes = [endpoint.route for endpoint in create_app(Settings()).state.endpoints]
    paths = {route.path for route in routes if isinstance(route, Route | WebSocketRoute)}
    listed = set(re.findall(r"`(?:GET |POST )?(/[^` ]*)`", API))

    assert paths <= listed, f"docs/api.md does not list {paths - listed}"


def test_every_error_code_is_listed_with_its_status() -> None:
    """docs/api.md has a table of the codes. A code without a status is an error of GraphQL, and has the status 400."""
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| (\d*)", API, re.MULTILINE)
    listed = {code: status for codes, status in rows for code in re.findall(r"[A-Z_]+", codes)}

    assert listed == {code: str(HTTP_STATUS.get(code, 400)) for code in listed} | {"TOO_SLOW": ""}
    assert listed.keys() >= HTTP_STATUS.keys() | {"OPERATION_TOO_COMPLEX", "TOO_SLOW"}


@pytest.mark.parametrize("command", ["infra.embedded", "graphql_api"])
def test_an_unknown_setting_is_rejected_at_start(command: str) -> None:
    """The error suggests the known setting with the most similar name."""
    environment = os.environ | {"DROPZONE_API_PROT": "1"}

    refused = subprocess.run(
        [sys.executable, "-m", command], env=environment, check=False, capture_output=True, text=True
    )

    assert refused.returncode == 1
    assert (refused.stdout, refused.stderr) == (
        "",
        "error: DROPZONE_API_PROT is not a setting; did you mean DROPZONE_API_PORT? See docs/configuration.md.\n",
    )
