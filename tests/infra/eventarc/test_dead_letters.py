"""Dead letters, from the command line."""

import asyncio
import sys
from typing import Any

import pytest

from tests.infra.eventarc.machine import Event, Firestore, Function, until


async def command(firestore: Firestore, *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.embedded.eventarc", *arguments),
        *("--data", str(firestore.path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_dead_letters_are_listed_and_sent_again(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """While the server runs: one that is chosen, then all."""

    async def fail(event: Event) -> int:
        return 418 if event.document.startswith("samples/bad") else 200

    function.answer = fail
    await firestore.start(on_written | {"retention_seconds": 0.1})
    await firestore.write("samples/bad1", "samples/good", "samples/bad2")
    await firestore.until_rows("eventarc_failed WHERE dead", "sequence", [(1,), (3,)])

    code, listing = await command(firestore, "dead-letters", "list")
    function.answer = function.done
    function.events.clear()
    _, one = await command(firestore, "dead-letters", "resend", "3")
    await until(lambda: function.documents == ["samples/bad2"])
    _, others = await command(firestore, "dead-letters", "resend", "--trigger", "on_written")
    await until(lambda: function.documents == ["samples/bad2", "samples/bad1"])
    await firestore.until_rows("eventarc_failed", "*", [])

    assert code == 0
    assert "1  on_written  projects/p/databases/(default)/documents/samples/bad1" in listing
    assert "418 OK" in listing
    assert "samples/good" not in listing
    assert (one, others) == ("1 to be sent again\n", "1 to be sent again\n")


async def test_a_file_without_triggers_is_a_clear_message(firestore: Firestore) -> None:
    """Not a traceback from SQLite."""
    missing = await command(firestore, "dead-letters", "list")
    firestore.path.write_bytes(b"")
    empty = await command(firestore, "dead-letters", "list")
    firestore.path.write_bytes(b"no database" * 100)
    other = await command(firestore, "dead-letters", "list")
    firestore.path.unlink()
    await firestore.start()

    assert missing == (1, f"there is no file {firestore.path}\n")
    assert empty == (1, f"no trigger was ever used with {firestore.path}\n")
    assert other == (1, "file is not a database\n")


async def test_what_waits_for_a_trigger_that_is_gone_is_dropped_when_it_is_forgotten(
    firestore: Firestore, function: Function, on_written: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Not before: a start without its trigger loses nothing, and says so."""
    await firestore.start(on_written)
    await firestore.stop()
    await firestore.start()
    await firestore.write("samples/a")
    await until(lambda: "on_written: the trigger is not given any more" in caplog.text)
    await firestore.stop()

    first = await command(firestore, "forget", "on_written")
    second = await command(firestore, "forget", "on_written")
    await firestore.start(on_written)
    await firestore.write("samples/b")
    await until(lambda: bool(function.events))

    assert first == (0, "on_written is forgotten\n")
    assert second == (1, "no trigger is called on_written\n")
    assert function.documents == ["samples/b"]
