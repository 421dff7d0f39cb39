"""The Prometheus metrics of the API. Each metric is updated by the code that causes the event.

`GET /metrics` (`endpoints/metrics.py`) returns all metrics.

The value of a label is never chosen by a client.
"""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import Counter, Gauge, Histogram

_DURATION_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

HTTP_REQUESTS = Counter(
    "dropzone_http_requests",
    "HTTP responses, by route, method and status. Status 101 means an accepted WebSocket.",
    ["route", "method", "status"],
)
HTTP_REQUEST_DURATION = Histogram(
    "dropzone_http_request_duration_seconds",
    "Time from a request to the start of its response, in seconds.",
    ["route", "method"],
    buckets=_DURATION_BUCKETS,
)
ERRORS = Counter("dropzone_errors", "Errors returned to clients over all protocols, by code.", ["code"])
LIMIT_REFUSALS = Counter("dropzone_limit_refusals", "Requests refused because of a limit, by limit.", ["limit"])
CLOSED_IDLE_CONNECTIONS = Counter(
    "dropzone_closed_idle_connections", "Idle connections closed because a limit was reached, by limit.", ["limit"]
)
SUBMIT_DURATION = Histogram(
    "dropzone_submit_duration_seconds",
    "Time from the last byte of a sample until it is stored, in seconds, by state. The count is the number of samples.",
    ["state"],
    buckets=_DURATION_BUCKETS,
)
FAILED_SAMPLES = Counter(
    "dropzone_failed_samples",
    "Samples that the server could not store, by code: UNAVAILABLE, INTERNAL or DATA_LOSS. If the server ends an "
    "NDJSON request early because of one of these errors, it counts one sample.",
    ["code"],
)
SUBMITTED_BYTES = Counter(
    "dropzone_submitted_bytes", "Bytes of stored samples, after decompression. A repeated sample counts again."
)
PENDING_WRITES = Gauge(
    "dropzone_pending_writes", "Writes that Firestore has not confirmed yet.", multiprocess_mode="livesum"
)
PENDING_WRITE_BYTES = Gauge(
    "dropzone_pending_write_bytes",
    "Bytes of the writes that Firestore has not confirmed yet.",
    multiprocess_mode="livesum",
)
WEBSOCKETS = Gauge("dropzone_websocket_connections", "Open WebSocket connections.", multiprocess_mode="livesum")
SUBSCRIPTIONS = Gauge(
    "dropzone_subscriptions",
    "Open subscriptions to samples and results, over all protocols.",
    multiprocess_mode="livesum",
)
DELIVERED = Counter("dropzone_delivered_results", "Results sent to subscribers.")
EVENT_LOOP_LAG = Histogram(
    "dropzone_event_loop_lag_seconds",
    "How much later than scheduled a timer of the event loop fires, in seconds.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)

CERTIFICATE_EXPIRY = Gauge(
    "dropzone_certificate_expiry_timestamp_seconds",
    "Unix time at which the certificate of new connections expires. 0 without a certificate.",
    multiprocess_mode="livemin",
)

BUILD_INFO = Gauge(
    "dropzone_build_info",
    "The version of this software and of Python. The value is 1.",
    ["version", "python_version"],
    multiprocess_mode="max",
)
try:
    _version = version("dropzone")
except PackageNotFoundError:  # an image can contain the source alone
    _version = "unknown"
BUILD_INFO.labels(_version, platform.python_version()).set(1)

# A label lookup costs more than an increment.
http_requests = cache(HTTP_REQUESTS.labels)
http_request_duration = cache(HTTP_REQUEST_DURATION.labels)
errors = cache(ERRORS.labels)
limit_refusals = cache(LIMIT_REFUSALS.labels)
closed_idle_connections = cache(CLOSED_IDLE_CONNECTIONS.labels)
submit_duration = cache(SUBMIT_DURATION.labels)
failed_samples = cache(FAILED_SAMPLES.labels)

# Prometheus sees no increase in a counter whose first value is 1. Counters that alerts use therefore start at 0.
for _state in ("PENDING", "REJECTED"):
    submit_duration(_state)
for _code in ("INTERNAL", "RATE_LIMITED", "UNAVAILABLE"):
    errors(_code)
for _code in ("DATA_LOSS", "INTERNAL", "UNAVAILABLE"):
    failed_samples(_code)
