"""Terraform imports the indexes that exist in the database, such as those of a restored backup."""

import json
import re
from pathlib import Path

import pytest

from infra.check import terraform

MODULE = terraform.MODULE
DEFINED = json.loads((MODULE / "firestore.indexes.json").read_text())["indexes"]


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    """The deployment with the indexes only. Resources of Terraform itself replace those of Google."""
    (tmp_path / "firestore.indexes.json").write_text((MODULE / "firestore.indexes.json").read_text())
    names = re.search(r"^locals {\n.*?^}\n", (MODULE / "firestore.tf").read_text(), re.DOTALL | re.MULTILINE)
    output = re.search(r'^output "indexes" {\n.*?^}\n', (MODULE / "outputs.tf").read_text(), re.DOTALL | re.MULTILINE)
    assert names is not None
    assert output is not None
    resource = 'resource "terraform_data" "this" {\n  for_each = local.indexes\n}\n'
    (tmp_path / "main.tf").write_text(f"{names[0]}\n{output[0]}\n{resource}")
    folder = tmp_path / "deployment"
    folder.mkdir()
    imports = (MODULE / "deployment/indexes.tf").read_text().replace("google_firestore_index", "terraform_data")
    (folder / "indexes.tf").write_text(f'module "dropzone" {{\n  source = "../"\n}}\n\n{imports}')
    run(folder, "init", "-input=false")
    return folder


def run(folder: Path, *arguments: str) -> str:
    """Run Terraform in a folder, and return its output."""
    status, output = terraform.run(terraform.program(), *arguments, folder=folder, environment={}, seconds=120)
    assert status == 0, output
    return output


def listed(index: dict[str, object], number: int) -> dict[str, object]:
    """Return an index as gcloud lists it. Firestore adds the name of the document to its fields."""
    name = f"projects/example/databases/(default)/collectionGroups/{index['collectionGroup']}/indexes/id{number}"
    fields = [*index["fields"], {"fieldPath": "__name__", "order": "ASCENDING"}]  # type: ignore[misc]  # the values of JSON are objects
    return {"name": name, "queryScope": index["queryScope"], "state": "READY", "fields": fields}


def test_without_a_list_all_indexes_are_created(deployment: Path) -> None:
    """The first deployment has no database yet."""
    assert f"Plan: {len(DEFINED)} to add, 0 to change" in run(deployment, "plan", "-input=false")


def test_existing_indexes_are_imported_and_the_others_created(deployment: Path) -> None:
    """Indexes that the configuration does not have are left alone. A second deployment imports nothing."""
    foreign = {
        "collectionGroup": "results",
        "queryScope": "COLLECTION",
        "fields": [{"fieldPath": "a", "order": "ASCENDING"}],
    }
    vector = {
        "collectionGroup": "results",
        "queryScope": "COLLECTION",
        "fields": [{"fieldPath": "v", "vectorConfig": {}}],
    }
    existing = [listed(index, number) for number, index in enumerate([*DEFINED[:-2], foreign, vector, vector])]
    (deployment / "existing_indexes.json").write_text(json.dumps(existing))

    first = run(deployment, "apply", "-input=false", "-auto-approve")
    second = run(deployment, "plan", "-input=false")

    assert f"{len(DEFINED) - 2} imported, 2 added, 0 changed, 0 destroyed" in first
    assert '["results collection shard:ascending' in first
    assert "No changes" in second
