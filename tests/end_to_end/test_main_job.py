"""A submitted sample becomes a result, through all processes."""

import contextlib
import json
import re
import stat
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest

from tests.graphql_api.schema.subscriber import receive, subscribe, watching
from tests.stack import FIXTURE, Stack, eventually, needs_embedded_firestore

RESULT = json.loads(Path("fixture/result.json").read_text())
INVALID = Path("fixture/invalid")
EXPECTED = json.loads(Path("fixture/invalid.json").read_text())


def test_the_fixture_is_submitted_and_its_result_is_exact(stack: Stack) -> None:
    """The receipt is PENDING, and the result follows."""
    receipt = stack.submit_fixture()

    computed = stack.wait_for(receipt["id"])

    assert receipt == {"id": receipt["id"], "state": "PENDING", "problems": []}
    assert computed["result"] == {
        "timestamp": "2019-05-01T10:00:00Z",
        "mean": 0.9985282517566032,
        "standardDeviation": pytest.approx(1.01280885259315, rel=2.3e-16),
        "count": 100,
    }


def _ends_greeting(stack: Stack, start: int) -> bool:
    return "Ctrl-C stops everything." in stack.log[start:]


@needs_embedded_firestore
def test_the_greeting_prints_the_result_of_an_example_once_and_the_addresses(tmp_path: Path) -> None:
    """`make run` starts the stack with this option. The example has a label and the time of today.

    If it is deleted, it does not come back.
    """
    logs: list[str] = []
    with contextlib.ExitStack() as exits:
        stack = exits.push(Stack(tmp_path))
        stack.start("--greet")
        eventually(partial(_ends_greeting, stack, 0), lambda: stack.log)
        logs.append(stack.log)
        results = stack.graphql("{ results { edges { node { id timestamp labels { name value } } } } }")["results"]
        [example] = results["edges"]
        deletion = httpx.delete(f"{stack.url}/samples/{example['node']['id']}", headers={"x-api-key": stack.key})
        assert deletion.status_code == 204
        stack.stop()
        length = len(stack.log)
        stack.start("--greet")
        eventually(partial(_ends_greeting, stack, length), lambda: stack.log)
        logs.append(stack.log[length:])
        assert stack.graphql("{ results { totalCount } }")["results"]["totalCount"] == 0

    for line in (
        r"example +COMPUTED",
        r" +mean 0\.9985282517566032, standard deviation 1\.01280885259315, 100 values at \d{4}-\d\d-\d\dT[0-9:]{8}Z",
        rf"Dashboard +{stack.url}/",
        rf"Sign in +{stack.url}/#sign-in=.*",
        rf"API +{stack.url}/graphql and {stack.url}/samples",
    ):
        assert re.search(f"^{line} *$", logs[0], re.MULTILINE), stack.log
    assert "COMPUTED" not in logs[1]
    assert example["node"]["labels"] == [{"name": "source", "value": "example"}]
    assert datetime.now(UTC) - datetime.fromisoformat(example["node"]["timestamp"]) < timedelta(hours=1)


@needs_embedded_firestore
async def test_a_subscription_delivers_each_result_exactly_once(stack: Stack) -> None:
    """It uses graphql-transport-ws, and stays open without further messages."""
    key = await anyio.to_thread.run_sync(stack.new_key, "watched")
    async with watching(stack, key) as socket:
        await subscribe(socket, "subscription { results { cursor node { id sample { state } } } }")

        ids = [(await anyio.to_thread.run_sync(lambda: stack.submit_fixture(key=key)))["id"] for _ in range(5)]
        delivered = [edge["node"] for edge in await receive(socket, len(ids))]
        await socket.send(json.dumps({"type": "ping"}))

        assert json.loads(await socket.recv())["type"] == "pong"
        assert sorted(node["id"] for node in delivered) == sorted(ids)
        assert all(node["sample"] == {"state": "COMPUTED"} for node in delivered)


async def test_a_subscription_to_one_sample_completes(stack: Stack) -> None:
    """Over Server-Sent Events it delivers each state, and completes after the final one."""
    receipt = await anyio.to_thread.run_sync(stack.submit_fixture)
    watch = f'subscription {{ sample(id: "{receipt["id"]}") {{ state result {{ mean }} }} }}'
    headers = {"x-api-key": stack.key, "accept": "text/event-stream"}

    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{stack.url}/graphql", json={"query": watch}, headers=headers) as stream,
    ):
        text = "".join([part async for part in stream.aiter_text()])

    events = [json.loads(line[6:])["data"]["sample"] for line in text.splitlines() if line.startswith("data: {")]
    assert [event["state"] for event in events] in (["PENDING", "COMPUTED"], ["COMPUTED"])
    assert events[-1]["result"] == {"mean": 0.9985282517566032}
    assert "event: complete" in text


def test_a_submitted_body_is_returned_byte_for_byte(stack: Stack) -> None:
    """White space is preserved."""
    raw = FIXTURE.read_bytes().replace(b", ", b" ,\r\n\t")

    receipt = stack.post_sample(raw).json()
    response = stack.get(f"/samples/{receipt['id']}")

    assert response.content == raw
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_invalid_sample_is_rejected_and_the_next_one_is_accepted(stack: Stack, name: str) -> None:
    """Invalid samples are stored with their problems. A body that is not JSON is a bad request."""
    raw, expected = (INVALID / name).read_bytes(), EXPECTED[name]

    response = stack.post_sample(raw)

    if "path" in expected:
        receipt = response.json()
        assert response.status_code == 422
        assert receipt["state"] == "REJECTED"
        assert [{k: p[k] for k in ("path", "code")} for p in receipt["problems"]] == [expected]
        assert stack.sample(receipt["id"])["state"] == "REJECTED"
        assert stack.get(f"/samples/{receipt['id']}").content == raw
    else:
        assert response.status_code == 400
        assert response.json()["error"]["extensions"]["code"] == expected["code"]
    assert stack.submit_fixture()["state"] == "PENDING"


def test_a_large_sample_is_computed_and_stored(stack: Stack) -> None:
    """A sample of several MB is split into chunks, which the function joins."""
    raw = json.dumps({"time_stamp": "2019-05-01T06:00:00-04:00", "data": [0.1, -0.3] * 150_000}).encode()

    receipt = stack.post_sample(raw).json()
    computed = stack.wait_for(receipt["id"])

    assert computed["result"]["count"] == 300_000
    assert computed["result"]["mean"] == pytest.approx(-0.1, rel=1e-15)
    assert computed["result"]["standardDeviation"] == pytest.approx(0.2, rel=1e-15)
    assert stack.get(f"/samples/{receipt['id']}").content == raw


def test_only_the_owner_can_read_the_key_file(stack: Stack) -> None:
    """Firestore stores only the hash of the key."""
    file = Path(stack.environment["DROPZONE_DATA_DIR"]) / "api-key"

    stored = [key.to_dict() for key in stack.firestore().collection("api_keys").stream()]

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stack.key not in json.dumps(stored, default=str)


def test_googles_client_reads_the_stored_documents(stack: Stack) -> None:
    """Names and types of the fields are those of the design."""
    sample_id = stack.submit_fixture()["id"]
    stack.wait_for(sample_id)
    parent = stack.firestore().document("submitters/local")

    header = parent.collection("samples").document(sample_id).get().to_dict()
    result = parent.collection("results").document(sample_id).get().to_dict()

    assert header is not None
    assert result is not None
    assert header["raw"].encode() == FIXTURE.read_bytes().strip()
    assert header["state_on_arrival"] == "ACCEPTED"
    assert result["status"] == "COMPUTED"
    assert {name: result[name] for name in RESULT if name != "timestamp"} == {
        name: value for name, value in RESULT.items() if name != "timestamp"
    }
    assert result["computed_at"] > header["submitted_at"]


async def test_googles_asynchronous_client_reads_the_stored_documents(stack: Stack) -> None:
    """Both of Google's Python clients work."""
    sample_id = (await anyio.to_thread.run_sync(stack.submit_fixture))["id"]
    await anyio.to_thread.run_sync(stack.wait_for, sample_id)
    client = stack.async_firestore()

    results = client.document("submitters/local").collection("results")
    ids = [document.id async for document in results.stream()]

    assert sample_id in ids
