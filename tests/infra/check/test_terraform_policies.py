"""The policies of the Terraform configuration find each violation."""

import shutil
from pathlib import Path

import pytest

from infra.check import terraform_policies


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A copy of the configuration."""
    return Path(shutil.copytree(terraform_policies.MODULE, tmp_path / "gcp"))


def test_the_configuration_violates_no_policy() -> None:
    """This is what `make infra-check` asserts."""
    assert terraform_policies.check() == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("iam.tf", "roles/datastore.user", "roles/editor", "the basic role roles/editor"),
        (
            "iam.tf",
            '"google_cloud_run_v2_service_iam_member" "ev',
            '"google_cloud_run_v2_service_iam_binding" "ev',
            "bindings of others",
        ),
        ("iam.tf", 'google_service_account.this["eventarc"].member\n}', '"allUsers"\n}', "only the API is public"),
        ("run.tf", '"INGRESS_TRAFFIC_INTERNAL_ONLY"', '"INGRESS_TRAFFIC_ALL"', "INGRESS_TRAFFIC_INTERNAL_ONLY"),
        ("run.tf", "    google_firestore_field.this,\n", "", "must depend on google_firestore_field.this"),
        ("eventarc.tf", '"application/protobuf"', '"application/json"', "must send application/protobuf"),
        (
            "eventarc.tf",
            "  # No retry_policy",
            "  retry_policy {\n    max_attempts = 1\n  }\n  # No",
            "switches retries off",
        ),
        ("eventarc.tf", "  service_account         = ", "  # ", "service account of its own"),
        ("firestore.tf", "for_each = local.indexes", "for_each = {}", "one google_firestore_index"),
        ("firestore.tf", "for_each = local.fields", "for_each = {}", "one google_firestore_field"),
        ("variables.tf", "type        = map(string)", "", "has no type"),
        (
            "deployment/main.tf",
            "  shards                              = var.shards\n",
            "",
            "the variable shards of the module is not passed",
        ),
        ("outputs.tf", 'description = "URL of the API."', "", "has no description"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value and len(value) < 60 else "",
)
def test_each_violation_is_found(module: Path, file: str, old: str, new: str, problem: str) -> None:
    """A changed line gives a problem that names it."""
    path = module / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))

    problems = terraform_policies.check(module)

    assert any(problem in each for each in problems), problems


@pytest.mark.parametrize("type_", terraform_policies.USERS)
def test_a_resource_that_is_deleted_too_early_is_found(module: Path, type_: str) -> None:
    """Terraform then deletes it before it updates the resources that use it."""
    [path] = [path for path in module.glob("*.tf") if f'resource "{type_}"' in path.read_text()]
    start, header, resource = path.read_text().partition(f'resource "{type_}"')
    path.write_text(
        start + header + resource.replace("create_before_destroy = true", "create_before_destroy = false", 1)
    )

    [problem] = terraform_policies.check(module)

    assert f"{type_}." in problem
    assert "must have create_before_destroy" in problem
