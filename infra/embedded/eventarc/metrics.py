"""The Prometheus metrics of event delivery that the sender updates. `dispatcher.py` adds metrics of waiting events."""

from prometheus_client import Counter, Histogram

ATTEMPT_DURATION = Histogram(
    "eventarc_delivery_attempt_duration_seconds",
    "Time from sending an event to the response of the function, in seconds, by trigger and outcome. The count is the "
    "number of attempts.",
    ["trigger", "outcome"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
DEAD_LETTERS = Counter("eventarc_dead_letters", "Events that became dead letters, by trigger.", ["trigger"])

ACKNOWLEDGED, FAILED, CRASHED = "acknowledged", "failed", "crashed"
OUTCOMES = (ACKNOWLEDGED, FAILED, CRASHED)
