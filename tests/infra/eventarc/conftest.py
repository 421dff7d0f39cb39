"""Fixtures for the tests of event delivery."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.eventarc.machine import WRITTEN, Firestore, Function, MortalFunction


@pytest.fixture
async def function() -> AsyncIterator[Function]:
    """A function that acknowledges every event."""
    function = Function()
    await function.start()
    yield function
    await function.stop()


@pytest.fixture
async def mortal() -> AsyncIterator[MortalFunction]:
    """A running function that can die."""
    function = MortalFunction()
    await function.start()
    yield function
    await function.end()


@pytest.fixture
async def firestore(tmp_path: Path) -> AsyncIterator[Firestore]:
    """A Firestore that is not started yet."""
    firestore = Firestore(tmp_path / "firestore.sqlite")
    yield firestore
    await firestore.stop()


@pytest.fixture
def on_written(function: Function) -> dict[str, Any]:
    """A trigger that calls the function for every sample and retries quickly. A function can hang for a whole test."""
    return {
        "name": "on_written",
        "event_type": WRITTEN,
        "document": "samples/{sample}",
        "url": function.url,
        "min_backoff_seconds": 0.02,
        "max_backoff_seconds": 0.1,
        "acknowledgement_deadline_seconds": 600.0,
    }
