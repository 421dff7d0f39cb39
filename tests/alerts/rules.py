"""The alerts of infra/prometheus/alerts.yaml with a minute that takes two seconds, so that a test can wait for them."""

import re
from pathlib import Path

ALERTS = Path("infra/prometheus/alerts.yaml")
SCALE = 30
SECONDS_PER_UNIT = {"m": 60, "h": 3600}
LIMITS = (
    "max(eventarc_oldest_event_age_seconds) > bool 60",
    "max by (trigger) (eventarc_oldest_event_age_seconds) > 60",
    "dropzone_audit_reads_total) and on () firestore_writable\n          ) > 1800",
)
"""The parts of expressions that compare a metric with a number of seconds."""


def scaled(text: str) -> str:
    """Return the rules with all durations and all limits in seconds divided by `SCALE`."""
    for limit in LIMITS:
        assert text.count(limit) == 1, limit
        start, _, seconds = limit.rpartition(" ")
        text = text.replace(limit, f"{start} {int(seconds) // SCALE}")
    unknown = re.findall(r".*(?<!_timestamp)_seconds\b.*[<>].*", text)
    assert len(unknown) == len(LIMITS), f"a limit in seconds is not listed in LIMITS: {unknown}"
    return re.sub(
        r"(?<!\w)(\d+)([mh])(?=\]|$)",
        lambda found: f"{int(found[1]) * SECONDS_PER_UNIT[found[2]] // SCALE}s",
        text,
        flags=re.MULTILINE,
    )
