"""`make deploy`, `make destroy` and the subscription settings, with programs in place of gcloud, terraform and docker.

No cloud account takes part.
"""

from pathlib import Path

import pytest

from tests.infra.gcp.recorded_programs import KEY, SUBSCRIPTION, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with all programs."""
    return Machine(tmp_path)


PROJECT = {"PROJECT": "example", "REGION": "europe-west6"}


def test_a_deployment_makes_its_steps_in_order(machine: Machine) -> None:
    """The plan is applied before the subscription is set. The smoke test is last, and its environment has the key."""
    run = machine.run("deploy.sh", text="y\n", **PROJECT)

    assert run.returncode == 0, run.stderr
    steps = [
        "gcloud storage buckets describe gs://example-dropzone-state",
        "terraform -chdir=infra/gcp/deployment init",
        "docker build",
        "docker push europe-west6-docker.pkg.dev/example/dropzone/dropzone:",
        "gcloud secrets versions add dropzone-api-key",
        "terraform -chdir=infra/gcp/deployment plan",
        "terraform -chdir=infra/gcp/deployment apply -input=false dropzone.tfplan",
        f"gcloud pubsub subscriptions update {SUBSCRIPTION}",
        "gcloud run jobs execute dropzone-keys",
        "gcloud pubsub subscriptions describe",
        "infra.smoke --url https://api.run.app",
    ]
    positions = [machine.index(words) for words in steps]
    assert positions == sorted(positions)
    assert machine.stored_secret == KEY
    assert not any(KEY in call for call in machine.calls), "a key in a command line is visible to other users"
    assert "https://api.run.app" in run.stdout


def test_each_command_of_terraform_has_a_new_token(machine: Machine) -> None:
    """Terraform cannot refresh it. With an expired token, Terraform can neither store its state nor unlock it."""
    machine.install({"terraform*apply*": '[ "$GOOGLE_OAUTH_ACCESS_TOKEN" = token ]'})

    run = machine.run("deploy.sh", YES="1", **PROJECT)

    assert run.returncode == 0, run.stderr
    before = [machine.calls[place - 1] for place, call in enumerate(machine.calls) if call.startswith("terraform")]
    assert len(before) > 3
    assert {call.split(" --format")[0] for call in before} == {"gcloud config config-helper --force-auth-refresh"}


@pytest.mark.parametrize("name", ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN"])
def test_other_credentials_are_kept(machine: Machine, name: str) -> None:
    """In a workflow, Terraform refreshes the token of the job itself."""
    machine.install({"terraform*apply*": f'[ "${name}" = other ]'})

    run = machine.run("deploy.sh", YES="1", **PROJECT, **{name: "other"})

    assert run.returncode == 0, run.stderr
    assert not any("config-helper" in call for call in machine.calls)


def test_nothing_is_applied_without_consent(machine: Machine) -> None:
    """The plan is shown; Enter means no."""
    run = machine.run("deploy.sh", text="\n", **PROJECT)

    assert run.returncode == 1
    assert "nothing was applied" in run.stderr
    assert not any(" apply " in call for call in machine.calls)


def test_a_new_project_gets_the_repository_before_the_image(machine: Machine) -> None:
    """The services need the image, and the image needs a repository."""
    machine.install({"gcloud artifacts repositories describe*": "exit 1", "gcloud storage buckets describe*": "exit 1"})

    run = machine.run("deploy.sh", YES="1", **PROJECT)

    assert run.returncode == 0, run.stderr
    assert machine.index("buckets create gs://example-dropzone-state") < machine.index("buckets update gs://example")
    assert machine.index("buckets update gs://example-dropzone-state --versioning") < machine.index("terraform")
    assert machine.index("-target=module.dropzone.google_artifact_registry_repository.images") < machine.index(
        "docker push"
    )


def test_a_plan_has_the_image_that_runs_and_changes_nothing(machine: Machine) -> None:
    """A pull request shows changes of the configuration only, and takes no lock of the state."""
    machine.install({"gcloud run services describe*": "echo example/image@sha256:1"})

    run = machine.run("plan.sh", **PROJECT)

    assert run.returncode == 0, run.stderr
    [plan] = [call for call in machine.calls if " plan " in call]
    assert "-lock=false" in plan
    assert "-refresh=false" in plan, "a pull request has no access to the resources"
    assert not any(" apply " in call for call in machine.calls)


def test_an_existing_key_is_kept(machine: Machine) -> None:
    """A second deployment must not lock out those who use the key."""
    machine.install({"gcloud secrets versions list*": "echo 1"})

    run = machine.run("deploy.sh", YES="1", **PROJECT)

    assert run.returncode == 0, run.stderr
    assert not any("versions add" in call for call in machine.calls)


def test_indexes_that_exist_are_imported(machine: Machine) -> None:
    """After a restore, they have other ids than in the state. Firestore would refuse to create them again."""
    listed = Path("infra/gcp/deployment/existing_indexes.json")
    machine.install(
        {
            "terraform*state list module.dropzone.google_firestore_database.this": "echo found",
            "gcloud firestore indexes composite list*--format=json": "echo '[]'",
            "terraform*plan*": f"cat {listed} > /dev/null",
        }
    )

    run = machine.run("deploy.sh", YES="1", **PROJECT)

    assert run.returncode == 0, run.stderr
    steps = [
        "apply -refresh-only -auto-approve -input=false -target=module.dropzone.google_firestore_index.this",
        "gcloud firestore indexes composite list --database=(default) --project=example --format=json",
        "terraform -chdir=infra/gcp/deployment plan",
    ]
    positions = [machine.index(words) for words in steps]
    assert positions == sorted(positions)
    assert not listed.exists(), "a later plan would import indexes that may not exist any more"


def test_indexes_of_an_interrupted_deployment_are_awaited(machine: Machine) -> None:
    """Terraform would import an index that is not built yet, and update the services that need it."""
    machine.install(
        {
            "terraform*state list module.dropzone.google_firestore_database.this": "echo found",
            "gcloud firestore indexes*state=CREATING*": '[ -e "$CALLS.built" ] || echo projects/example/indexes/a',
            "gcloud firestore indexes*": "echo '[]'",
            "sleep*": ': > "$CALLS.built"',
        },
        names=("gcloud", "terraform", "docker", "sleep"),
    )

    run = machine.run("deploy.sh", YES="1", **PROJECT)

    assert run.returncode == 0, run.stderr
    assert "projects/example/indexes/a" in run.stdout
    assert machine.index("state=CREATING") < machine.index("sleep") < machine.index("--project=example --format=json")
    assert machine.index("sleep") < machine.index("terraform -chdir=infra/gcp/deployment plan")


@pytest.mark.parametrize(
    "failing",
    [
        "docker build*",
        "docker push*",
        "docker run*new_key*",
        "terraform*plan*",
        "gcloud run jobs*",
        "docker run*smoke*",
    ],
)
def test_a_failed_step_ends_the_deployment(machine: Machine, failing: str) -> None:
    """Nothing that fails is followed by the message that Dropzone is deployed."""
    machine.install({failing: "exit 7"})

    run = machine.run("deploy.sh", YES="1", **PROJECT)

    assert run.returncode != 0
    assert "Dropzone is deployed" not in run.stdout


@pytest.mark.parametrize(
    ("script", "tool", "named"),
    [
        ("deploy.sh", "terraform", "terraform"),
        ("deploy.sh", "gcloud", "gcloud"),
        ("deploy.sh", "docker", "docker (or podman)"),
        ("destroy.sh", "terraform", "terraform"),
    ],
)
def test_a_missing_tool_is_named(machine: Machine, script: str, tool: str, named: str) -> None:
    """Before anything is changed."""
    machine.remove(tool)

    run = machine.run(script, **PROJECT)

    assert run.returncode == 1
    assert run.stderr == f"error: not installed: {named}\n"
    assert machine.calls == []


def test_podman_takes_the_place_of_docker(machine: Machine) -> None:
    """Either is enough."""
    machine.remove("docker")
    machine.install({"podman login*": "cat >/dev/null"}, names=("podman",))

    run = machine.run("image.sh", "push", **PROJECT)

    assert run.returncode == 0, run.stderr
    assert any(call.startswith("podman push europe-west6-docker.pkg.dev/example/") for call in machine.calls)


def test_a_missing_project_is_named(machine: Machine) -> None:
    """The message shows how to pass it."""
    run = machine.run("deploy.sh", REGION="europe-west6")

    assert run.returncode == 1
    assert run.stderr.startswith("error: set PROJECT, for example: make deploy PROJECT=")


def test_a_protected_database_is_not_destroyed(machine: Machine) -> None:
    """The message says how to lift the protection."""
    run = machine.run("destroy.sh", **PROJECT)

    assert run.returncode == 1
    assert "delete_protection = false" in run.stderr
    assert not any(call.startswith("terraform") for call in machine.calls)


def test_an_unprotected_database_is_destroyed(machine: Machine) -> None:
    """Terraform shows what it deletes, and asks. Firestore does not delete the backups with the database."""
    machine.install({"gcloud firestore databases describe*": "echo DELETE_PROTECTION_DISABLED"})

    run = machine.run("destroy.sh", **PROJECT)

    assert run.returncode == 0, run.stderr
    assert "terraform -chdir=infra/gcp/deployment destroy" in machine.calls
    assert "gcloud firestore backups list --project=example" in run.stdout


@pytest.mark.parametrize(("answer", "is_destroyed"), [("NOT_FOUND: no database", True), ("PERMISSION_DENIED", False)])
def test_an_interrupted_destruction_continues(machine: Machine, answer: str, is_destroyed: bool) -> None:
    """The database may be gone already. Any other error leaves the protection unknown."""
    machine.install({"gcloud firestore databases describe*": f"echo '{answer}' >&2; exit 1"})

    run = machine.run("destroy.sh", **PROJECT)

    assert (run.returncode == 0) is is_destroyed
    assert ("terraform -chdir=infra/gcp/deployment destroy" in machine.calls) is is_destroyed


@pytest.mark.parametrize("named", [{}, {"TRIGGER": "dropzone"}])
def test_the_second_step_sets_deadline_and_dead_letters(machine: Machine, named: dict[str, str]) -> None:
    """It can be repeated: `update` sets the same values again. The function on GKE has a trigger of its own."""
    run = machine.run("subscription.sh", "set", PROJECT="example", **named)

    assert run.returncode == 0, run.stderr
    assert f"name~/{named.get('TRIGGER', 'dropzone-sample-written')}$" in machine.calls[0]
    [update] = [call for call in machine.calls if "subscriptions update" in call]
    assert "--ack-deadline=600" in update
    assert "--dead-letter-topic=projects/example/topics/dropzone-dead-letters" in update
    assert "--max-delivery-attempts=100" in update


@pytest.mark.parametrize(
    ("pattern", "answer", "problem"),
    [
        ("*ackDeadlineSeconds*", "echo 10", "expected the acknowledgement deadline 600, got 10"),
        ("*deadLetterTopic*", "echo", "got none"),
        ("*maxDeliveryAttempts*", "echo 5", "expected the maximum number of attempts 100, got 5"),
        ("*audience*", "echo https://other.run.app", "the function accepts https://function-b.run.app only"),
    ],
)
def test_the_check_finds_a_missing_second_step(machine: Machine, pattern: str, answer: str, problem: str) -> None:
    """`make deploy` and `make smoke PROJECT=...` run this check."""
    machine.install({f"gcloud pubsub subscriptions describe{pattern}": answer})

    run = machine.run("subscription.sh", "check", PROJECT="example", AUDIENCES="https://function-b.run.app")

    assert run.returncode == 1
    assert problem in run.stderr


def test_the_check_accepts_the_url_with_a_hash(machine: Machine) -> None:
    """The hash of the URL is not known before Cloud Run creates the function."""
    machine.install({"gcloud pubsub subscriptions describe*audience*": "echo https://function-x7k2-oa.a.run.app"})
    audiences = "https://function-123.europe-west6.run.app,https://function-*.a.run.app"

    run = machine.run("subscription.sh", "check", PROJECT="example", AUDIENCES=audiences)

    assert run.returncode == 0, run.stderr
