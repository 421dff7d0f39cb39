"""The Prometheus metrics that the code of Firestore updates. `api/admin_endpoints.py` adds metrics that it reads."""

from prometheus_client import Counter, Histogram

COMMIT_DURATION = Histogram(
    "firestore_commit_duration_seconds",
    "Time of a group commit with all its writes and the flush to the disk, in seconds.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
COMMITTED_JOBS = Histogram(
    "firestore_commit_jobs",
    "Calls and internal tasks that share a group commit.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
CHECKPOINT_DURATION = Histogram(
    "firestore_checkpoint_duration_seconds",
    "Time to copy the write-ahead log into the data file, in seconds.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LOG_RESTART_DURATION = Histogram(
    "firestore_log_restart_duration_seconds",
    "Time in which the writer restarts the write-ahead log, in seconds. No commit runs in this time.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
FAILED_CHECKPOINTS = Counter(
    "firestore_failed_checkpoints",
    "Checkpoints that failed, or that did not start because the disk has too little space.",
)
