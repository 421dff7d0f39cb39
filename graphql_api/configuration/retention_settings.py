"""The default retention, as the settings describe it."""

from storage.documents.retention import MAX_DAYS, HourlyRetention, Retention

_SAMPLES = "DROPZONE_SAMPLE_RETENTION_DAYS"
_RESULTS = "DROPZONE_RESULT_RETENTION_DAYS"
_HOURLY = "DROPZONE_HOURLY_RETENTION"


def parse_retention(sample_days: int, result_days: int, hourly: str) -> Retention:
    """Return the retention in three settings. Raises `ValueError`, which names the invalid setting and its value."""
    for name, days in ((_SAMPLES, sample_days), (_RESULTS, result_days)):
        if not 0 <= days <= MAX_DAYS:
            raise ValueError(f"{name} must be from 0 to {MAX_DAYS:,}, got {days}")
    if result_days and not 0 < sample_days <= result_days:
        raise ValueError(
            f"{_RESULTS} must be at least {_SAMPLES}, got {result_days} and {sample_days}; 0 means forever"
        )
    return Retention(sample_days or None, result_days or None, _parse_hourly(hourly, result_days))


def _parse_hourly(text: str, result_days: int) -> HourlyRetention | None:
    if text == "off":
        return None
    if text != "forever" and not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{_HOURLY} must be off, a number of days, or forever, got {text}")
    if not result_days:
        raise ValueError(f"{_HOURLY} must be off if {_RESULTS} is 0, which means forever, got {text}")
    days = None if text == "forever" else int(text)
    if days is not None and not result_days < days <= MAX_DAYS:
        raise ValueError(f"{_HOURLY} must be more than {_RESULTS} and at most {MAX_DAYS:,} days, got {text}")
    return HourlyRetention(days)
