"""Runs the generated client against the API and prints the responses as JSON, in the environment of the generator."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from generated import Client, ResultOrder, ResultOrderField  # type: ignore[import-not-found] # the test generates it


async def main() -> dict[str, Any]:
    """Submit the fixture, watch until its result arrives, and list all results."""
    url, key = os.environ["DROPZONE_URL"], {"x-api-key": os.environ["DROPZONE_API_KEY"]}
    sample = json.loads(Path(os.environ["DROPZONE_FIXTURE"]).read_text())
    ws_url = url.replace("http", "ws", 1)
    async with Client(url=url, headers=key, ws_url=ws_url, ws_connection_init_payload=key) as client:
        submitted = (await client.submit(sample=sample)).submit
        async for event in client.watch(after=os.environ["DROPZONE_CURSOR"]):
            if event.watched.node.id == submitted.id:
                break
        result = (await client.sample(id=submitted.id)).sample.result
        listed = (await client.results(order_by=ResultOrder(field=ResultOrderField.COUNT), first=100)).results
    return {
        "state": submitted.state,
        "timestamp": result.timestamp.isoformat(),
        "counts": sum(result.histogram.counts),
        "listed": [edge.node.count for edge in listed.edges],
        "total": listed.total_count,
    }


print(json.dumps(asyncio.run(main())))
