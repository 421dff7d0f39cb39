"""The command that verifies what is stored: digests of samples, and results against another computation."""

import subprocess
import sys

import httpx

from tests.stack import FIXTURE, Stack

LARGE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%s]}' % b", ".join([b"0.123456789"] * 100_000)
REJECTED = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": []}'


def verify(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "triggers.verify", *arguments]
    environment = stack.environment | stack.firestore_environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_samples_and_results_that_are_as_stored_have_no_problems(stack: Stack) -> None:
    """Also those in chunks. A rejected sample has no result."""
    key = stack.new_key("verified")
    samples = [FIXTURE.read_bytes(), FIXTURE.read_bytes(), LARGE]
    ids = [stack.post_sample(raw, x_api_key=key).json()["id"] for raw in samples]
    stack.post_sample(REJECTED, x_api_key=key)
    for sample_id in ids:
        stack.wait_for(sample_id, key=key)

    done = verify(stack, "--submitter", "verified", "--recompute-every", "1")

    assert (done.stdout, done.returncode) == ("", 0), done.stderr
    assert done.stderr == "4 samples, 0 of them without a result yet; 3 results, 3 of them computed again; 0 problems\n"


def test_the_tombstone_of_an_earlier_sample_is_not_a_result(stack: Stack) -> None:
    """A client deletes a sample, and sends an invalid sample with the same idempotency key."""
    key = stack.new_key("stored-again", "submit,read,admin")
    first = stack.post_sample(FIXTURE.read_bytes(), x_api_key=key, idempotency_key="one").json()["id"]
    stack.wait_for(first, key=key)
    assert httpx.delete(f"{stack.url}/samples/{first}", headers={"x-api-key": key}).status_code == 204
    assert stack.post_sample(REJECTED, x_api_key=key, idempotency_key="one").json()["id"] == first

    done = verify(stack, "--submitter", "stored-again")

    assert (done.stdout, done.returncode) == ("", 0)
    assert done.stderr == "1 samples, 0 of them without a result yet; 0 results, 0 of them computed again; 0 problems\n"


def test_a_damaged_sample_and_a_wrong_result_are_named(stack: Stack) -> None:
    """The exit code is 1."""
    key = stack.new_key("falsified")
    damaged, wrong = (stack.post_sample(FIXTURE.read_bytes(), x_api_key=key).json()["id"] for _ in range(2))
    for sample_id in (damaged, wrong):
        stack.wait_for(sample_id, key=key)
    firestore = stack.firestore()
    firestore.document(f"submitters/falsified/samples/{damaged}").update({"sha256": "0" * 64})
    firestore.document(f"submitters/falsified/results/{wrong}").update({"mean": 7.5})

    done = verify(stack, "--submitter", "falsified", "--recompute-every", "1")

    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == sorted(
        [
            f"submitters/falsified/samples/{damaged}: the stored sample is damaged: expected the 2,061 submitted "
            "bytes, got 2,061 bytes that differ; submit the sample again",
            f"submitters/falsified/samples/{wrong}: mean is 7.5, but a new computation returns 0.9985282517566032",
        ]
    )


def test_all_submitters_are_verified_without_an_option(stack: Stack) -> None:
    """More samples than fit on a page are read."""
    key = stack.new_key("many")
    line = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}\n'
    stack.post_sample(line * 250, x_api_key=key, content_type="application/x-ndjson")
    stack.post_sample(FIXTURE.read_bytes(), x_api_key=stack.new_key("one-besides-many"))

    one, every = verify(stack, "--submitter", "many"), verify(stack)

    assert one.stderr.startswith("250 samples, ")
    assert int(every.stderr.split()[0]) > 250
