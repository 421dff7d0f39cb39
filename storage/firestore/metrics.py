"""What this process did with Firestore, as Prometheus metrics."""

from functools import cache

from prometheus_client import Counter, Histogram

BATCH_WRITE_SIZE = Histogram(
    "dropzone_batch_write_size", "Writes in each BatchWrite.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
FIRESTORE_ERRORS = Counter("dropzone_firestore_errors", "Calls and writes that Firestore refused, by code.", ["code"])

firestore_errors = cache(FIRESTORE_ERRORS.labels)  # looking a label up costs more than counting

# Prometheus sees no increase in a counter whose first value is 1, so those used by alerts start at 0.
for _code in ("ABORTED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"):
    firestore_errors(_code)
