"""A full disk keeps deliveries from being noted, not from being made."""

from typing import Any

from google.api_core.exceptions import ResourceExhausted

from tests.infra.eventarc.machine import Firestore, Function, until


async def limit(firestore: Firestore, more: int) -> None:
    """Let the file grow by so many pages and no further."""
    used = await firestore.storage.execute(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    most = f"PRAGMA max_page_count = {used + more}"
    await firestore.storage.execute(lambda connection: connection.execute(most).fetchone())


async def test_delivery_outlives_a_full_disk(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """What was acknowledged is delivered while the disk is full, failures too, and what comes after it."""
    await firestore.start(on_written)

    async def fail(_: Any) -> int:
        return 500

    function.answer = fail
    await limit(firestore, 100)
    acknowledged = []
    try:
        for number in range(1_000):
            await firestore.client.document(f"samples/{number:03}").set({"text": "x" * 20_000}, retry=None)
            acknowledged.append(f"samples/{number:03}")
    except ResourceExhausted:
        pass
    await until(lambda: set(function.documents) == set(acknowledged))  # each fails, and that is to be noted

    function.answer = function.done
    await limit(firestore, 1_000)
    await firestore.client.document("samples/last").set({"n": 1}, retry=None)

    await until(lambda: "samples/last" in function.documents)
    await firestore.until_rows("eventarc_failed", "count(*)", [(0,)])
