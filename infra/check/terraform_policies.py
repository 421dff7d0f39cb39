"""Policies of the Terraform configuration that a schema cannot express, checked on the parsed files.

The checks need neither Terraform nor a provider. An expression such as `${var.x}` is compared as text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import hcl2

MODULE = Path("infra/gcp")
BASIC_ROLES = re.compile(r"roles/(owner|editor|viewer)\b")
MADE_BY_DEPLOY = "state_bucket"
"""A variable of the module that the deployment does not pass: `make deploy` creates a bucket with the default name."""
PUBLIC = ("allUsers", "allAuthenticatedUsers")
USERS = {
    "google_compute_managed_ssl_certificate": "the load balancer uses the earlier certificate",
    "google_firestore_index": "the earlier API needs a removed index",
    "google_monitoring_notification_channel": "the alerts use a removed channel",
    "google_monitoring_uptime_check_config": "an alert uses the earlier check",
}
"""What uses a resource that Terraform deletes or replaces. Google refuses to delete it before, or the user fails."""


class Resource(NamedTuple):
    """A resource block."""

    file: Path
    type: str
    name: str
    content: Mapping[str, Any]

    @property
    def address(self) -> str:
        """The name of the resource in Terraform's messages."""
        return f"{self.type}.{self.name}"

    def value(self, *path: str) -> Any:
        """Return an argument, through nested blocks. None if it does not exist. The parser wraps values in lists."""
        value: Any = self.content
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
            while isinstance(value, list) and len(value) == 1:
                value = value[0]
        return value


def check(module: Path = MODULE) -> list[str]:
    """Return the violations, one line each."""
    files = parse_all(module)
    resources = [each for path, content in files.items() for each in _resources(path, content)]
    return [
        *_basic_roles(files),
        *_replaced_bindings(resources),
        *_public_access(resources),
        *_function(resources),
        *_trigger(resources),
        *_indexes(module, resources),
        *_deleted_last(resources),
        *_descriptions(files),
        *_ignored_variables(module, files),
    ]


def parse_all(module: Path) -> Mapping[Path, Mapping[str, Any]]:
    """Return the content of each Terraform file of the module and of its subfolders."""
    paths = (path for path in module.rglob("*.tf") if ".terraform" not in path.parts)
    return {path: hcl2.loads(path.read_text()) for path in sorted(paths)}


def types(module: Path = MODULE) -> set[str]:
    """Return all resource types of the configuration, and its data sources as `data.TYPE`."""
    found: set[str] = set()
    for content in parse_all(module).values():
        found |= {type_ for block in content.get("resource", []) for type_ in block}
        found |= {f"data.{type_}" for block in content.get("data", []) for type_ in block}
    return found


def _resources(path: Path, content: Mapping[str, Any]) -> Iterator[Resource]:
    for block in content.get("resource", []):
        for type_, named in block.items():
            for name, body in named.items():
                yield Resource(path, type_, name, body)


def _basic_roles(files: Mapping[Path, Mapping[str, Any]]) -> Iterator[str]:
    for path, content in files.items():
        for role in BASIC_ROLES.findall(json.dumps(content)):
            yield f"{path}: the basic role roles/{role} grants too much; use roles of single services"


def _replaced_bindings(resources: list[Resource]) -> Iterator[str]:
    for each in resources:
        if each.type.endswith(("_iam_binding", "_iam_policy")):
            member = f"{each.type.rpartition('_')[0]}_member"
            yield f"{each.file}: {each.address} removes the bindings of others; use {member}"


def _public_access(resources: list[Resource]) -> Iterator[str]:
    for each in resources:
        public = [name for name in PUBLIC if name in json.dumps(each.content)]
        if public and "google_cloud_run_v2_service.api." not in str(each.value("name")):
            yield f"{each.file}: {each.address} grants access to {public[0]}; only the API is public"


def _function(resources: list[Resource]) -> Iterator[str]:
    for each in resources:
        if each.type == "google_cloud_run_v2_service" and each.name != "api":
            if (ingress := each.value("ingress")) != "INGRESS_TRAFFIC_INTERNAL_ONLY":
                yield f"{each.file}: {each.address} must have ingress INGRESS_TRAFFIC_INTERNAL_ONLY, got {ingress}"
            if each.value("invoker_iam_disabled"):
                yield f"{each.file}: {each.address} must not disable the check of its callers"
            for indexes in ("google_firestore_field.this", "google_firestore_index.this"):
                if indexes not in str(each.value("depends_on")):
                    yield f"{each.file}: {each.address} must depend on {indexes}, because its queries need the indexes"


def _trigger(resources: list[Resource]) -> Iterator[str]:
    for each in resources:
        if each.type == "google_eventarc_trigger":
            if (type_ := each.value("event_data_content_type")) != "application/protobuf":
                yield f"{each.file}: {each.address} must send application/protobuf, got {type_}"
            if each.value("retry_policy") is not None:
                yield f"{each.file}: {each.address} has a retry policy, whose only value switches retries off"
            if each.value("service_account") is None:
                yield f"{each.file}: {each.address} must have a service account of its own"


def _indexes(module: Path, resources: list[Resource]) -> Iterator[str]:
    """Check that the indexes come from the file that the embedded Firestore reads, so that both have the same."""
    for type_, key, local in [
        ("google_firestore_index", "indexes", "local.indexes"),
        ("google_firestore_field", "fieldOverrides", "local.fields"),
    ]:
        found = [each for each in resources if each.type == type_]
        if len(found) != 1 or local not in str(found[0].value("for_each")):
            yield f"{module}: expected one {type_} with for_each = {local}, made from {key} of firestore.indexes.json"


def _deleted_last(resources: list[Resource]) -> Iterator[str]:
    """Check that Terraform deletes a resource only after it has updated the resources that used it."""
    for each in resources:
        user = USERS.get(each.type)
        if user is not None and not each.value("lifecycle", "create_before_destroy"):
            yield f"{each.file}: {each.address} must have create_before_destroy: {user}"


def _descriptions(files: Mapping[Path, Mapping[str, Any]]) -> Iterator[str]:
    for path, content in files.items():
        for kind in ("variable", "output"):
            for block in content.get(kind, []):
                for name, body in block.items():
                    if not body.get("description"):
                        yield f"{path}: {kind} {name} has no description"
                    if kind == "variable" and not body.get("type"):
                        yield f"{path}: variable {name} has no type"


def _ignored_variables(module: Path, files: Mapping[Path, Mapping[str, Any]]) -> Iterator[str]:
    """Check that the deployment passes each variable. Terraform only warns of a variable that is not declared."""
    deployment = module / "deployment" / "main.tf"
    [call] = files[deployment]["module"]
    for block in files[module / "variables.tf"]["variable"]:
        for name in block.keys() - {MADE_BY_DEPLOY}:
            if f"var.{name}" not in str(call["dropzone"].get(name)):
                yield f"{deployment}: the variable {name} of the module is not passed, so it has no effect"
