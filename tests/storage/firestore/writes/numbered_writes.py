"""Writes for the tests of the writer. A path is a number, from which the scripted Firestore makes the update time."""

import asyncio
from typing import Any

from storage.firestore import encoding
from storage.firestore.writes.group_commit_writer import MAX_CALLS, GroupCommitWriter
from tests.storage.firestore.one_method import DATABASE
from tests.storage.firestore.scripted_firestore import ScriptedFirestore


def new_write(path: str, padding_bytes: int = 0) -> Any:
    """Return a write of the document at `path`."""
    return encoding.to_write(f"{DATABASE}/documents/{path}", {"padding": bytes(padding_bytes)})


def start(writer: GroupCommitWriter, *writes: Any) -> "asyncio.Task[list[Any]]":
    """Start to write, as one group."""
    return asyncio.create_task(writer.write_all(writes))


async def fill_calls(server: ScriptedFirestore, writer: GroupCommitWriter) -> list["asyncio.Task[list[Any]]"]:
    """Start as many calls as may be in flight."""
    tasks = []
    for number in range(MAX_CALLS):
        tasks.append(start(writer, new_write(str(number))))
        await server.wait_for(lambda batches, number=number: len(batches) == number + 1)  # type: ignore[misc]
    return tasks


def seconds(results: list[Any]) -> list[int]:
    """Return the update time of each result. The scripted server makes it from the path."""
    return [result.update_time.seconds for result in results]
