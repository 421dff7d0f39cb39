"""Terraform deletes a resource after it has updated the resources that used it.

Google refuses to delete a certificate, a channel or a check that is in use. It deletes an index that is in use, and
then refuses queries.
"""

import re
from pathlib import Path

import pytest

from infra.check import terraform, terraform_policies


def run(folder: Path, *arguments: str) -> str:
    """Run Terraform in a folder, and return its output."""
    status, output = terraform.run(terraform.program(), *arguments, folder=folder, environment={}, seconds=120)
    assert status == 0, output
    return output


@pytest.mark.parametrize("type_", terraform_policies.USERS)
def test_a_resource_in_use_is_deleted_last(tmp_path: Path, type_: str) -> None:
    """Resources of Terraform itself replace those of Google.

    The deletion is also after `last`: new indexes can take hours, and the earlier API runs meanwhile.
    """
    files = "".join(path.read_text() for path in terraform.MODULE.glob("*.tf"))
    [lifecycle] = re.findall(
        rf'^resource "{type_}" "\w+" {{\n.*?^  (lifecycle {{\n.*?^  }})\n', files, re.MULTILINE | re.DOTALL
    )
    (tmp_path / "main.tf").write_text(
        f"""
variable "name" {{}}
resource "terraform_data" "used" {{
  for_each = toset([var.name])
  {lifecycle}
}}
resource "terraform_data" "user" {{
  input = [for each in terraform_data.used : each.id]
}}
resource "terraform_data" "last" {{
  input      = var.name
  depends_on = [terraform_data.user]
}}
"""
    )
    run(tmp_path, "init", "-input=false")
    run(tmp_path, "apply", "-auto-approve", "-var=name=former")

    output = run(tmp_path, "apply", "-auto-approve", "-var=name=new")

    done = re.findall(r"^terraform_data\.(\S+): \w+ complete", output, re.MULTILINE)
    assert done == ['used["new"]', "user", "last", 'used["former"]']
