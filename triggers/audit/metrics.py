"""Prometheus metrics of the audit."""

from prometheus_client import Counter, Gauge

CHECKED = Counter("dropzone_audit_checked_samples", "Samples that the audit has checked for a result.")
TRIGGERED = Counter(
    "dropzone_audit_triggered_samples",
    "Samples without a result or with an outdated result, for which the audit triggered the function again.",
)
HEALED = Counter(
    "dropzone_audit_healed_samples",
    "Samples that had no result when they were checked, and had one at a later check. Deleted samples do not count.",
)
MISSING = Gauge(
    "dropzone_audit_missing_samples",
    "Samples that have no result, although the audit has triggered the function again.",
    multiprocess_mode="mostrecent",
)
CHECKED_UNTIL = Gauge(
    "dropzone_audit_checked_until_seconds",
    "Unix time up to which all samples are checked, by the time of submission.",
    multiprocess_mode="mostrecent",
)
READS = Counter("dropzone_audit_reads", "Reads of the audit, as Google Cloud bills them.")
