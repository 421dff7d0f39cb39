"""`Client` and the threads of a program, against the whole stack."""

import asyncio
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest

from dropzone import Client, ClientClosed, Receipt, SampleFilter, SampleState, background
from dropzone.background import BackgroundLoop
from tests.stack import Stack, eventually


def sample(number: int) -> dict[str, Any]:
    """Return a sample whose mean is `number`."""
    return {"time_stamp": "2026-11-27T00:00:00Z", "data": [number]}


def ids(outcomes: Any) -> Iterator[str]:
    """Yield the ids of samples that are all stored."""
    for outcome in outcomes:
        assert isinstance(outcome, Receipt), outcome
        yield outcome.id


def run(stack: Stack, key: str, program: str) -> "subprocess.Popen[str]":
    """Start a Python program that uses a client."""
    environment = os.environ | {"DROPZONE_URL": stack.url, "DROPZONE_KEY": key}
    command = [sys.executable, "-u", "-c", f"from dropzone import *\nimport os, time\nclient = Client()\n{program}"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.timeout(60)
def test_a_sample_is_stored_while_the_generator_waits_for_the_next(stack: Stack) -> None:
    """A sensor can be silent for hours."""
    key = stack.new_key("slow-generator")
    with Client(stack.url, key) as client, Client(stack.url, key) as reader:

        def stored() -> int:
            return len(list(reader.samples()))

        def sensor() -> Iterator[dict[str, Any]]:
            for number in range(3):
                eventually(lambda: stored() == number)  # noqa: B023 - called at once
                yield sample(number)

        assert len(list(ids(client.submit_many(sensor())))) == 3


@pytest.mark.timeout(60)
def test_arguments_can_be_generators_that_use_the_same_client(stack: Stack) -> None:
    """They run in the thread of the caller, so the event loop of the client can serve them."""
    with Client(stack.url, stack.new_key("same-client", "submit,read,admin")) as client:
        states = [each.state for each in client.wait(ids(client.submit_many(map(sample, range(3)))))]
        doubled = ({"time_stamp": each.timestamp, "data": [each.mean * 2 + 10]} for each in client.results())
        means = [each.result and each.result.mean for each in client.wait(ids(client.submit_many(doubled)))]
        deleted = client.delete(each.id for each in client.samples(limit=4))

    assert states == [SampleState.COMPUTED] * 3
    assert {*means} == {10.0, 12.0, 14.0}
    assert deleted == 4


def test_samples_can_come_from_an_object_that_belongs_to_one_thread(stack: Stack) -> None:
    """A connection of `sqlite3` refuses other threads."""
    database = sqlite3.connect(":memory:")
    rows = database.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300) SELECT i FROM n")
    with Client(stack.url, stack.new_key("sqlite")) as client:
        stored = list(ids(client.submit_many(sample(number) for (number,) in rows)))

    assert len(set(stored)) == 300
    database.close()


@pytest.mark.parametrize("samples", [3, 150, 1000])
def test_samples_before_an_exception_of_the_generator_are_stored(stack: Stack, samples: int) -> None:
    """Their receipts are yielded before the exception is raised."""

    def sensor() -> Iterator[dict[str, Any]]:
        yield from map(sample, range(samples))
        raise OSError("the port was disconnected")

    received: list[Any] = []
    with Client(stack.url, stack.new_key(f"failing-generator-{samples}")) as client:
        with pytest.raises(OSError, match="disconnected"):
            received.extend(client.submit_many(sensor()))

        assert len(set(ids(received))) == samples
        assert {each.id for each in client.samples(SampleFilter())} == set(ids(received))


def test_ctrl_c_interrupts_a_generator(stack: Stack) -> None:
    """It is raised where the generator waits."""
    program = """
def sensor():
    try:
        yield {"time_stamp": "2026-11-27T00:00:00Z", "data": [1]}
        print("waiting")
        time.sleep(100)
    finally:
        print("closed")
list(client.submit_many(sensor()))
"""
    with run(stack, stack.new_key("interrupted-generator"), program) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "waiting\n"
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=50)

    assert output == "closed\n"
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.timeout(60)
def test_close_ends_the_iterations_of_other_threads(stack: Stack) -> None:
    """They get an error, because their iteration is not complete."""
    key = stack.new_key("closed-in-another-thread")
    client = Client(stack.url, key)
    raised: list[BaseException] = []
    results = client.results()
    list(client.wait(ids(client.submit_many([sample(1)]))))

    def watch() -> None:
        try:
            list(client.watch())
        except ClientClosed as error:
            raised.append(error)

    watching = Thread(target=watch)
    watching.start()
    next(results)
    client.close()
    watching.join()

    assert "create another client" in str(raised[0])
    with pytest.raises(ClientClosed):
        list(results)
    with pytest.raises(ClientClosed):
        client.whoami()
    client.close()


@pytest.mark.timeout(60)
def test_close_ends_work_that_ignores_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """`asyncio.wait_for` of Python 3.11 does, if what it waits for ends at the same moment."""
    monkeypatch.setattr(background, "CANCEL_SECONDS", 0.01)

    async def ignore_a_cancellation() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def end() -> None:
        pass

    loop = BackgroundLoop(end)
    working = loop.start(ignore_a_cancellation)
    loop.close()

    assert working.cancelled()


@pytest.mark.timeout(60)
def test_a_client_that_is_not_closed_is_collected(stack: Stack) -> None:
    """Its thread and its connections would stay until the program exits. An iterator keeps what it needs."""
    before = set(threading.enumerate())
    client = Client(stack.url, stack.new_key("collected"))
    list(client.wait(ids(client.submit_many([sample(1), sample(2)]))))
    used = [client.results()]

    del client
    gc.collect()
    assert len(list(used[0])) == 2

    with pytest.warns(ResourceWarning, match="not closed"):
        used.clear()
    for thread in set(threading.enumerate()) - before:
        thread.join()


def test_a_forked_process_needs_a_client_of_its_own(stack: Stack) -> None:
    """A fork copies only the thread that calls it, so a request would never end."""
    program = """
client.whoami()
if os.fork() == 0:
    try:
        client.whoami()
    except ClientClosed as error:
        print(error.code, Client().whoami().submitter)
else:
    os.wait()
    print(client.whoami().submitter)
"""
    with run(stack, stack.new_key("forked"), program) as running:
        output, errors = running.communicate(timeout=50)

    assert output == "CLIENT_CLOSED forked\nforked\n", errors
