"""Dead letters on the command line and over HTTP."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.infra.eventarc.machine import PATIENCE_SECONDS, WRITTEN, Event, Firestore, Function, until
from tests.infra.firestore.server_process import FirestoreProcess
from tests.ports import free_port


async def command(firestore: Firestore, *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.embedded.eventarc", *arguments),
        *("--data", str(firestore.path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_dead_letters_are_listed_and_resent(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """The server runs meanwhile. First one dead letter is resent, then all of a trigger."""

    async def fail(event: Event) -> int:
        return 418 if event.document.startswith("samples/bad") else 200

    function.respond = fail
    await firestore.start(on_written | {"retention_seconds": 0.1})
    await firestore.write("samples/bad1", "samples/good", "samples/bad2")
    await firestore.until_rows("eventarc_undelivered WHERE state = 'dead'", "sequence", [(1,), (3,)])

    code, listing = await command(firestore, "dead-letters", "list")
    function.respond = function.acknowledge
    function.events.clear()
    _, one = await command(firestore, "dead-letters", "resend", "3")
    await until(lambda: function.documents == ["samples/bad2"])
    _, others = await command(firestore, "dead-letters", "resend", "--trigger", "on_written")
    await until(lambda: function.documents == ["samples/bad2", "samples/bad1"])
    await firestore.until_rows("eventarc_undelivered", "*", [])

    assert code == 0
    assert "1  on_written  projects/p/databases/(default)/documents/samples/bad1" in listing
    assert "418 OK" in listing
    assert "samples/good" not in listing
    assert (one, others) == ("dead letters to send again: 1\n", "dead letters to send again: 1\n")


async def test_a_dead_letter_is_discarded(firestore: Firestore, function: Function, on_written: dict[str, Any]) -> None:
    """The server runs meanwhile. An event that can still be delivered is not discarded."""

    async def fail(event: Event) -> int:
        return 418 if "bad" in event.document else 200

    function.respond = fail
    patient = on_written | {"name": "patient", "document": "waiting/{sample}"}
    await firestore.start(on_written | {"retention_seconds": 0.1}, patient)
    await firestore.write("samples/bad1", "samples/bad2", "waiting/bad3")
    await firestore.until_rows("eventarc_undelivered WHERE state = 'dead'", "sequence", [(1,), (2,)])
    await firestore.until_rows("eventarc_undelivered WHERE state = 'retrying'", "sequence", [(3,)])

    none = await command(firestore, "dead-letters", "discard")
    other = await command(firestore, "dead-letters", "discard", "1", "--trigger", "other")
    waiting = await command(firestore, "dead-letters", "discard", "1", "3")
    one = await command(firestore, "dead-letters", "discard", "1")
    unknown = await command(firestore, "dead-letters", "resend", "7")
    function.respond = function.acknowledge
    function.events.clear()
    again = await command(firestore, "dead-letters", "resend")
    await firestore.until_rows("eventarc_undelivered", "*", [])

    assert none[0] == 2
    refusals = [(other, 1), (waiting, 3), (unknown, 7)]
    assert [code for (code, _), _ in refusals] == [1, 1, 1]
    for (_, text), sequence in refusals:
        assert text.startswith(f"expected sequence numbers of dead letters, got {sequence}; nothing was changed")
    assert one == (0, "deleted dead letters: 1\n")
    assert again == (0, "dead letters to send again: 1\n")
    assert sorted(function.documents) == ["samples/bad2", "waiting/bad3"]


async def test_a_file_without_triggers_is_a_clear_error(firestore: Firestore) -> None:
    """The command prints one line, not a traceback of SQLite."""
    missing = await command(firestore, "dead-letters", "list")
    firestore.path.write_bytes(b"")
    empty = await command(firestore, "dead-letters", "list")
    firestore.path.write_bytes(b"no database" * 100)
    other = await command(firestore, "dead-letters", "list")
    firestore.path.unlink()
    await firestore.start()

    assert missing == (1, f"the data file {firestore.path} does not exist\n")
    assert empty == (
        1,
        f"{firestore.path} contains no trigger data; start Firestore with --triggers and this file first\n",
    )
    assert other == (1, f"{firestore.path} cannot be used: file is not a database\n")


async def test_events_of_a_removed_trigger_are_stored_until_it_is_forgotten(
    firestore: Firestore, function: Function, on_written: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A start without the trigger logs a warning and loses nothing."""
    await firestore.start(on_written)
    await firestore.stop()
    await firestore.start()
    await firestore.write("samples/a")
    await until(lambda: "trigger on_written is not configured any more" in caplog.text)
    await firestore.stop()

    first = await command(firestore, "forget", "on_written")
    second = await command(firestore, "forget", "on_written")
    await firestore.start(on_written)
    await firestore.write("samples/b")
    await until(lambda: bool(function.events))

    assert first == (0, "deleted all events of on_written\n")
    assert second == (1, f"{firestore.path} contains no trigger named on_written\n")
    assert function.documents == ["samples/b"]


async def test_a_trigger_is_not_forgotten_while_the_server_runs(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """Its events that wait for delivery would be lost."""
    function.respond_with(418)
    await firestore.start(on_written)
    await firestore.write("samples/a")
    await firestore.until_rows("eventarc_undelivered", "sequence", [(1,)])

    code, output = await command(firestore, "forget", "on_written")
    function.respond = function.acknowledge
    await firestore.until_rows("eventarc_undelivered", "sequence", [])

    assert code == 1
    assert output == f"{firestore.path} is in use by another process: stop that process or use another file\n"


@pytest.fixture
async def http(tmp_path: Path, function: Function) -> AsyncIterator[tuple[FirestoreProcess, aiohttp.ClientSession]]:
    """A process with two triggers of short retention, and a client for its HTTP port."""
    lines = []
    for name in ("first", "second"):
        settings = {"name": name, "event_type": WRITTEN, "document": "samples/{sample}", "url": function.url}
        lines += ["[[triggers]]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
        lines += ["retention_seconds = 0.1", "min_backoff_seconds = 0.02", "max_backoff_seconds = 0.1"]
    triggers = tmp_path / "triggers.toml"
    triggers.write_text("\n".join(lines))
    port = free_port()
    process = FirestoreProcess(tmp_path, "--http-port", str(port), "--triggers", str(triggers))
    await asyncio.to_thread(process.start)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield process, session
    process.close()


async def listed(session: aiohttp.ClientSession, **parameters: str) -> list[Any]:
    """Return the dead letters listed over HTTP."""
    async with session.get("/eventarc/dead-letters", params=parameters) as answer:
        assert answer.status == 200
        return list((await answer.json())["dead_letters"])


async def until_listed(session: aiohttp.ClientSession, count: int) -> None:
    """Wait until `count` dead letters are listed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if len(await listed(session)) == count:
                return
            await asyncio.sleep(0.05)


async def test_dead_letters_are_listed_and_resent_over_http(
    http: tuple[FirestoreProcess, aiohttp.ClientSession], function: Function
) -> None:
    """Those of a trigger, of a sequence, or all. A request with a misspelled parameter resends nothing."""
    process, session = http

    async def fail(event: Event) -> int:
        return 418

    async def resend(**parameters: str) -> Any:
        async with session.post("/eventarc/dead-letters/resend", params=parameters) as answer:
            return await answer.json() if answer.status == 200 else (answer.status, await answer.text())

    function.respond = fail
    before = await listed(session)
    for name in ("a", "b"):
        await asyncio.to_thread(process.client().document(f"samples/{name}").set, {"name": name})
    await until_listed(session, 4)
    first = await listed(session, trigger="first")
    function.respond = function.acknowledge
    function.events.clear()

    refused = [await resend(sequense="1"), await resend(sequence="one")]
    one = await resend(trigger="first", sequence="2")
    await until(lambda: function.documents == ["samples/b"])
    others = await resend()
    await until(lambda: sorted(function.documents) == ["samples/a", "samples/a", "samples/b", "samples/b"])
    async with session.post("/eventarc/dead-letters/resend?trigger=first&trigger=second") as answer:
        refused.append((answer.status, await answer.text()))
    async with session.get("/eventarc/dead-letters?trigger=first&trigger=second") as answer:
        refused.append((answer.status, await answer.text()))

    assert before == []
    assert [(letter["trigger"], letter["sequence"]) for letter in first] == [("first", 1), ("first", 2)]
    assert first[0]["document"] == "projects/p/databases/(default)/documents/samples/a"
    assert "418" in first[0]["problem"]
    assert first[0]["attempts"] >= 1
    assert [status for status, _ in refused] == [400] * 4
    assert "unknown query parameter sequense; use only sequence, trigger" in refused[0][1]
    assert "expected a whole number, got 'one' - at the query parameter `sequence`" in refused[1][1]
    assert refused[2][1] == refused[3][1] == "the query parameter `trigger` is repeated; use it once\n"
    assert (one, others) == ({"resent": 1}, {"resent": 3})
    assert await listed(session) == []
