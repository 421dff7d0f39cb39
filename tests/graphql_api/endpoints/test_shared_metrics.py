"""Requests for `/metrics` at the same time share one text."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import anyio.to_thread
import httpx
import pytest
from starlette.applications import Starlette

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.endpoints import metrics


async def test_requests_at_the_same_time_share_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without a key could otherwise keep both processors busy. A later request reads the metrics again."""
    started, release, readings = threading.Event(), threading.Event(), list[int]()

    def read(sources: object) -> bytes:
        readings.append(1)
        started.set()
        assert release.wait(60)
        return b"reading %d" % len(readings)

    monkeypatch.setattr(metrics, "exposition", read)
    services: Any = SimpleNamespace(budgets=Budgets(Limits()))
    transport = httpx.ASGITransport(Starlette(routes=[metrics.metrics_endpoint("", services).route]))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        requests = [asyncio.create_task(client.get("/metrics")) for _ in range(5)]
        await anyio.to_thread.run_sync(started.wait)
        release.set()
        together = await asyncio.gather(*requests)
        later = await client.get("/metrics")

    assert {response.text for response in together} == {"reading 1"}
    assert later.text == "reading 2"
