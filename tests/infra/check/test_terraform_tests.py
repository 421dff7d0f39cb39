"""Each Terraform test fails if what it is about is changed."""

import re
import shutil
from pathlib import Path

from infra.check import terraform, terraform_policies

MUTATIONS = {
    "the_database_can_be_restored_and_not_deleted": (
        "firestore.tf",
        '"POINT_IN_TIME_RECOVERY_ENABLED"',
        '"POINT_IN_TIME_RECOVERY_DISABLED"',
    ),
    "every_index_and_exemption_of_the_file_exists": (
        "firestore.tf",
        "for_each = local.indexes",
        'for_each = { for key, index in local.indexes : key => index if index.collectionGroup != "samples" }',
    ),
    "the_api_is_public_and_checks_itself": (
        "run.tf",
        'timeout                          = "3600s"',
        'timeout                          = "300s"',
    ),
    "a_deployment_ends_a_rollback": ("run.tf", "    percent = 100", "    percent = 50"),
    "only_the_project_calls_the_function": ("run.tf", '"INGRESS_TRAFFIC_INTERNAL_ONLY"', '"INGRESS_TRAFFIC_ALL"'),
    "written_samples_become_events": (
        "eventarc.tf",
        "submitters/{submitter}/samples/{sample}",
        "submitters/{submitter}/{any=**}",
    ),
    "the_trigger_follows_a_multi_region_database": ("eventarc.tf", "local.database_location", "var.region"),
    "dead_letters_reach_the_function": ("eventarc.tf", 'ttl = ""', 'ttl = "86400s"'),
    "the_audit_runs_every_five_minutes": ("scheduler.tf", "*/5 * * * *", "0 5 * * *"),
    "api_and_function_export_traces": (
        "run.tf",
        "function_environment = merge(var.trace_settings, {",
        "function_environment = merge({}, {",
    ),
    "an_audit_that_does_not_run_raises_an_alert": ("monitoring.tf", " or vector(0)) < 1", ") < 1"),
    "the_rollups_are_kept_every_five_minutes": ("scheduler.tf", "function.uri}/rollups", "function.uri}/audit"),
    "workflows_of_one_repository_sign_in": ("github.tf", ":environment:${var.environment}", ":environment:production"),
    "without_a_repository_no_workflow_signs_in": (
        "github.tf",
        'resource "google_iam_workload_identity_pool" "github" {\n  count = local.has_github ? 1 : 0',
        'resource "google_iam_workload_identity_pool" "github" {\n  count = 1',
    ),
    "all_resources_with_labels_have_them": ("main.tf", "merge(var.labels, {", "merge({}, {"),
    "every_alert_says_what_to_do_and_reaches_someone": ("monitoring.tf", '"/readyz"', '"/healthz"'),
    "a_fixed_number_of_instances_raises_no_alert": ("monitoring.tf", ", var.api.min_instances, 1)", ", 1)"),
    "the_dashboard_shows_each_signal_that_google_measures": (
        "dashboard.tf",
        "if can(signal.google)",
        "if can(signal.google.group[0])",
    ),
    "a_budget_needs_a_billing_account": ("budget.tf", '["projects/${data.google_project.this.number}"]', "[]"),
    "a_domain_puts_a_load_balancer_in_front": (
        "run.tf",
        '? "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" : ',
        '? "INGRESS_TRAFFIC_ALL" : ',
    ),
    "without_a_domain_there_is_no_load_balancer": (
        "main.tf",
        'local.has_load_balancer ? ["compute',
        'true ? ["compute',
    ),
    "errors_are_logged_completely": ("logging.tf", " AND httpRequest.status < 400", ""),
    "sizes_that_cloud_run_refuses_are_refused": ("run.tf", "max = 4096", "max = 8192"),
    "invalid_values_are_refused": ("variables.tf", "var.weekly_backup_weeks <= 14", "var.weekly_backup_weeks <= 20"),
}
"""For each test a change that it must notice: file, text, replacement."""


def test_every_terraform_test_notices_its_mutation(tmp_path: Path) -> None:
    """All mutations are made together, so that one run of Terraform is enough: then every test must fail."""
    program = terraform.program()
    module = Path(shutil.copytree(terraform.MODULE, tmp_path / "gcp", ignore=shutil.ignore_patterns(".terraform*")))
    names = {
        name
        for file in module.glob("tests/*.tftest.hcl")
        for name in re.findall(r'^run "(\w+)"', file.read_text(), re.M)
    }
    assert set(MUTATIONS) == names, "every test needs a mutation"
    for file, old, new in MUTATIONS.values():
        path = module / file
        text = path.read_text()
        assert old in text, f"{file} does not contain {old}"
        path.write_text(text.replace(old, new))

    with terraform.provider(program, module, tmp_path) as environment:
        terraform.run(
            program, "init", "-backend=false", "-input=false", folder=module, environment=environment, seconds=100
        )
        _, output = terraform.run(program, "test", folder=module, environment=environment, seconds=600)

    assert set(re.findall(r'run "(\w+)"\.\.\. fail', output)) == names, output


def test_a_new_version_is_deployed_when_its_indexes_are_built_and_the_function_before_the_api(tmp_path: Path) -> None:
    """Otherwise requests that need a new index would fail, and an earlier function would get samples of a new API."""
    program = terraform.program()
    module = Path(shutil.copytree(terraform.MODULE, tmp_path / "gcp", ignore=shutil.ignore_patterns(".terraform*")))

    with terraform.provider(program, module, tmp_path) as environment:
        terraform.run(
            program, "init", "-backend=false", "-input=false", folder=module, environment=environment, seconds=100
        )
        _, graph = terraform.run(program, "graph", folder=module, environment=environment, seconds=100)

    function = '"google_cloud_run_v2_service.function"'
    assert f'{function} -> "google_firestore_index.this"' in graph
    assert f'"google_cloud_run_v2_service.api" -> {function}' in graph


def test_an_argument_that_the_provider_does_not_have_is_found(tmp_path: Path) -> None:
    """The schema is that of the real provider: names, types and required arguments."""
    program = terraform.program()
    (tmp_path / "main.tf").write_text(
        """
        terraform {
          required_providers {
            google = { source = "hashicorp/google" }
          }
        }
        resource "google_pubsub_topic" "a" {
          name    = "a"
          retains = true
        }
        resource "google_pubsub_subscription" "b" {
          name = "b"
        }
        resource "google_eventarc_trigger" "c" {
          name     = "c"
          location = ["europe-west6"]
        }
        """
    )

    with terraform.provider(program, tmp_path, tmp_path) as environment:
        terraform.run(
            program, "init", "-backend=false", "-input=false", folder=tmp_path, environment=environment, seconds=100
        )
        status, output = terraform.run(program, "validate", folder=tmp_path, environment=environment, seconds=100)

    assert status == 1
    assert 'An argument named "retains" is not expected here' in output
    assert 'The argument "topic" is required' in output
    assert 'Inappropriate value for attribute "location": string required' in output
    assert 'At least 1 "matching_criteria" blocks are required' in output


def test_all_types_of_the_configuration_have_a_schema() -> None:
    """The number of types is counted, so that a parser that finds nothing is noticed."""
    assert len(terraform_policies.types()) >= 24
