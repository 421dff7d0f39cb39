"""The load of a soak: clients that submit batches of samples at a steady rate, and retry until each is acknowledged."""

import threading
import time
import uuid
from collections import deque

import httpx

from tests.stack import Stack

CLIENTS = 4
BATCH_LINES = 20
RETRY_SECONDS = 0.2
TIMEOUT_SECONDS = 30.0
VALUES = b", ".join(b"%d.5" % number for number in range(100))


class Submitters:
    """Submits `rate` samples a second until `stop`, or as many as possible if `rate` is 0."""

    def __init__(self, stack: Stack, rate: float) -> None:
        self._stack = stack
        self._pause = CLIENTS * BATCH_LINES / rate if rate else 0.0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged = 0
        self.retries = 0
        self.durations: deque[float] = deque()
        """The seconds of each request since the last report."""
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Complete the requests in progress."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        headers = {"x-api-key": self._stack.key, "content-type": "application/x-ndjson"}
        due = time.monotonic()
        with httpx.Client(base_url=self._stack.url, headers=headers, timeout=TIMEOUT_SECONDS) as client:
            while not self._stopping.is_set():
                self._submit(client)
                due = max(due + self._pause, time.monotonic() - 1)
                self._stopping.wait(max(0.0, due - time.monotonic()))

    def _submit(self, client: httpx.Client) -> None:
        """Submit one batch until all of its samples are acknowledged. A retry has the same idempotency keys."""
        body = b"".join(
            b'{"idempotency_key": "%b", "time_stamp": "2019-05-01T06:00:00Z", "data": [%b]}\n'
            % (uuid.uuid4().hex.encode(), VALUES)
            for _ in range(BATCH_LINES)
        )
        started = time.monotonic()
        while not self._is_acknowledged(client, body):
            with self._lock:
                self.retries += 1
            time.sleep(RETRY_SECONDS)
        with self._lock:
            self.acknowledged += BATCH_LINES
            self.durations.append(time.monotonic() - started)

    @staticmethod
    def _is_acknowledged(client: httpx.Client, body: bytes) -> bool:
        try:
            response = client.post("/samples", content=body)
        except httpx.TransportError:
            return False
        return response.status_code == 200 and response.text.count('"state":"PENDING"') == BATCH_LINES
