"""Fixtures for all tests: the whole stack, started by its command, on free ports and in a folder of its own."""

import asyncio
import functools
import gc
import importlib
import inspect
import os
import signal
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.infra.firestore.server_process import FirestoreProcess
from tests.stack import PATIENCE_SECONDS, Stack

# A background shell makes its processes ignore SIGINT, and `nohup` SIGHUP. Processes that tests start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# From 90 days before the end of life of a Python release, clients of Google warn about it. `pyproject.toml` ignores
# this in tests. Processes that tests start must not print it either: tests compare what they print.
os.environ["PYTHONWARNINGS"] = "ignore:You are using a:FutureWarning"

collect_ignore = ["infra/check"]  # `make infra-check` runs these tests, in the environment that has their tools

# On a busy machine, examples are generated slowly. A test must not fail because of the time that it takes.
settings.register_profile("dropzone", deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dropzone")

# On a busy machine, a response can take longer than the 5 s for which httpx waits by default.
httpx_timeout: httpx.Timeout = inspect.signature(httpx.Client).parameters["timeout"].default
httpx_timeout.connect = httpx_timeout.read = httpx_timeout.write = httpx_timeout.pool = PATIENCE_SECONDS

# Each client of httpx reads all trusted certificates, which takes 40 ms of a processor. The clients can share them.
httpx_transports: Any = importlib.import_module("httpx._transports.default")
httpx_transports.create_ssl_context = functools.cache(httpx_transports.create_ssl_context)


SYSTEM = (
    "tests/end_to_end",
    "tests/client/test_submit_command.py",
    "tests/client/test_reading_commands.py",
    "tests/infra/firestore/data_file",
    "tests/infra/supervisor",
    "tests/infra/firestore/storage",
    "tests/infra/firestore/indexes/test_indexes.py",
    "tests/infra/firestore/indexes/test_index_builds.py",
    "tests/infra/eventarc/test_quarantine.py",
    "tests/graphql_api/endpoints/test_metrics.py",
    "tests/infra/eventarc/test_trials.py",
    "tests/graphql_api/test_memory_release.py",
    "tests/graphql_api/auth/test_key_limits.py",
    "tests/triggers/test_on_sample_written.py",
    "tests/graphql_api/endpoints/test_health.py",
    "tests/graphql_api/ingest/test_uploads.py",
    "tests/graphql_api/ingest/test_failed_samples.py",
    "tests/graphql_api/ingest/test_backlog.py",
    "tests/infra/smoke",
    "tests/infra/eventarc/test_dead_letters.py",
    "tests/graphql_api/schema/test_resumed_subscription.py",
    "tests/infra/firestore/transport/test_tcp_relay.py",
    "tests/infra/firestore/api/test_large_results.py",
    "tests/graphql_api/results/test_recomputation.py",
    "tests/runtime/test_memory_release.py",
    "tests/graphql_api/ingest/test_retention.py",
    "tests/triggers/test_verify.py",
    "tests/infra/eventarc/test_crashes.py",
)
"""Folders and modules that start, kill and restart processes, fill a disk, or wait for time limits, the longest first.

`make system` runs them, and `make test` all others.
"""

SLOW = (
    "tests/client",
    "tests/graphql_api/web",
    "tests/graphql_api/endpoints",
    "tests/graphql_api/auth",
    "tests/graphql_api/schema",
    "tests/graphql_api/results",
    "tests/infra/eventarc",
    "tests/graphql_api/graphql_server/server",
    "tests/triggers/rollups",
    "tests/triggers/hourly_archive",
    "tests/graphql_api/ingest",
    "tests/graphql_api/graphql_server/protocols",
    "tests/storage/documents/validation/test_hostile_payloads.py",
    "tests/infra/firestore/listen",
    "tests/infra/firestore/api",
    "tests/triggers/test_large_samples.py",
    "tests/triggers/test_forged_events.py",
    "tests/infra/firestore/writes/test_rate_limits.py",
)
"""Other folders and modules that take long, the longest first.

`pytest -m "not slow"` leaves out these, `SYSTEM`, and each test with a stack.
"""

STACKS = {"stack", "own_stack", "disturbed_stack"}
"""The fixtures that start all processes, which takes longer than most tests."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of `SYSTEM` and `SLOW`, and the tests that use a stack or the fixture of a browser.

    The longest run first, so that the test processes end at about the same time. pytest-xdist keeps this order with
    `--no-loadscope-reorder` only: by default, the modules with the fewest tests run last, and these are the slow ones.
    """
    folders = [config.rootpath / name for name in (*SYSTEM, *SLOW)]

    @functools.cache  # each process collects thousands of items in a few hundred modules
    def place(path: Path) -> int:
        return next((number for number, folder in enumerate(folders) if path.is_relative_to(folder)), len(folders))

    for item in items:
        if place(item.path) < len(SYSTEM):
            item.add_marker(pytest.mark.system)
        fixtures = getattr(item, "fixturenames", ())
        if place(item.path) < len(folders) or not STACKS.isdisjoint(fixtures):
            item.add_marker(pytest.mark.slow)
        if "chrome" in fixtures:
            item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: place(item.path))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exempt the objects of collected tests from garbage collections, each of which would visit more than a million."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


DEADLINE = pytest.StashKey[float]()
"""The monotonic time at which pytest-timeout ends a test."""

DEADLINE_MARGIN_SECONDS = 5.0


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> object:
    """Store when the test must end."""
    item.stash[DEADLINE] = time.monotonic() + settings.timeout
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """End an async test within its event loop, a few seconds before pytest-timeout ends it with a signal.

    The exception that the signal raises also ends the event loop. All later async tests of the process would then fail,
    because anyio runs them in the same loop.
    """
    if iscoroutinefunction(pyfuncitem.obj) and DEADLINE in pyfuncitem.stash:
        deadline = pyfuncitem.stash[DEADLINE] - DEADLINE_MARGIN_SECONDS
        pyfuncitem.obj = ends_before(deadline, pyfuncitem.obj)
    return (yield)


def ends_before(deadline: float, test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return `test` with a deadline, in monotonic time."""

    @functools.wraps(test)
    async def run(**arguments: object) -> None:
        async with asyncio.timeout(deadline - time.monotonic()):
            await test(**arguments)

    return run


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio works with asyncio only."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def event_loop(anyio_backend: str) -> None:
    """Keep one event loop for all async tests of a process.

    grpc.aio ends a cancelled call some time later, on the loop that began it. If that loop were the loop of an earlier
    test and closed, the error would fail the test that runs then.
    """


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for tests that leave it running and read only their own samples."""
    with Stack(tmp_path_factory.mktemp("stack"), DROPZONE_MAX_REQUEST_MIB="30") as started:
        yield started


@pytest.fixture(scope="session")
def indexed_firestore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreProcess]:
    """A Firestore that refuses queries without a published index. Each test has its own database in it."""
    process = FirestoreProcess(tmp_path_factory.mktemp("indexed"), "--indexes", "infra/gcp/firestore.indexes.json")
    process.start()
    yield process
    process.close()


@pytest.fixture(scope="module")
def disturbed_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for the tests of a module that kill or restart its processes, and leave it running.

    Requests wait until a killed Firestore is back.
    """
    with Stack(tmp_path_factory.mktemp("disturbed"), DROPZONE_WRITE_TIMEOUT_SECONDS="60") as started:
        yield started


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack for a test that cannot share it."""
    with Stack(tmp_path) as started:
        yield started
