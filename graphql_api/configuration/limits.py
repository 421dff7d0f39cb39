"""The limits of all budgets. Each field is a setting of the API. docs/security.md explains the defaults.

All limits except the daily limits apply to one API process. Several API processes together allow a multiple.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

MAX_LIMIT = 900_000_000
"""The maximum of a limit. With this number of MiB, `q` of `RateLimit-Policy` has 15 digits, the maximum of RFC 9651."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The maximum of each budget. The field `max_connections` is the setting `DROPZONE_MAX_CONNECTIONS`, and so on."""

    # The whole process.
    max_connections: int = 4_000
    """Open connections, WebSockets included."""

    max_memory_mib: int = 448
    """Resident memory above which the API refuses large requests, WebSockets and subscriptions."""

    max_large_requests_mib: int = 256
    """Bytes of large requests that are in memory at the same time, after decompression."""

    # One address, before authentication.
    max_connections_per_address: int = 2_500
    """Open connections of one IP address. A proxy is one address: raise this limit behind a proxy."""

    max_unauthenticated_websockets_per_address: int = 500
    """WebSockets of one IP address whose clients have not authenticated themselves yet."""

    max_failed_authentications_per_second: int = 20
    """Requests with an unknown API key, per IP address."""

    # One submitter, after authentication.
    max_connections_per_submitter: int = 2_200
    """Connections of one submitter with a request in progress, WebSockets included.

    It leaves connections of an address to other submitters, and is above `max_subscriptions_per_submitter`.
    """

    max_cost_per_submitter: int = 1_000
    """Cost units of the operations that one submitter executes at the same time. Other operations wait.

    Half of these units are for heavy operations, which cost 10 units or more. At most 16 heavy operations are executed
    at the same time, and at most 16 events of subscriptions.
    """

    max_operation_cost: int = 1_000
    """Cost units of one operation. An operation that costs more is refused."""

    max_waiting_operations_per_submitter: int = 500
    """Operations of one submitter that wait for their turn."""

    max_large_requests_mib_per_submitter: int = 192
    """Bytes of the large requests of one submitter that are in memory at the same time, after decompression."""

    max_uploads_per_submitter: int = 64
    """Bodies over 64 KiB of one submitter that are received at the same time. NDJSON streams do not count."""

    max_exports_per_submitter: int = 16
    """Responses of `GET /results` to one submitter that are sent at the same time."""

    max_replays_per_submitter: int = 8
    """Subscriptions of one submitter that read stored results at the same time. Others wait."""

    max_large_reads_per_submitter: int = 2
    """Operations of one submitter that read raw documents over 64 KiB at the same time. Others wait."""

    max_requests_per_second_per_submitter: int = 20_000
    """Requests of one submitter in a second. Each operation over a WebSocket is a request."""

    max_samples_per_second_per_submitter: int = 20_000
    """Samples that one submitter may send in a second."""

    max_sample_mib_per_second_per_submitter: int = 256
    """Size of the samples that one submitter may send in a second, after decompression."""

    max_samples_per_day_per_submitter: int = 0
    """Samples that one submitter may send per day in UTC, to all API processes together. 0 means no limit."""

    max_sample_mib_per_day_per_submitter: int = 0
    """Size of the samples that one submitter may send per day in UTC, after decompression. 0 means no limit."""

    max_pending_samples_per_submitter: int = 100_000
    """Stored samples of one submitter that have no result yet."""

    max_api_keys_per_submitter: int = 1_000
    """Valid API keys that the clients of one submitter may create. An operator may create more."""

    max_websockets_per_submitter: int = 1_000
    """Open WebSockets of one submitter."""

    max_subscriptions_per_submitter: int = 2_000
    """Open subscriptions of one submitter, over all protocols."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a limit below its minimum or above `MAX_LIMIT`."""
        for field in fields(self):
            value, rule = getattr(self, field.name), f"DROPZONE_{field.name.upper()} must be"
            minimum = 1 if field.default else 0
            if value < minimum:
                raise ValueError(f"{rule} at least {minimum}, got {value}")
            if value > MAX_LIMIT:
                raise ValueError(f"{rule} at most {MAX_LIMIT}, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyLimits:
    """Limits of an API key. They replace the limits of its submitter. None means the limit of the submitter.

    Requests with such a key do not count towards the limit that the other keys of the submitter share.
    """

    name: str
    """The start of the digest of the key. Keys that this key created, and keys that replaced it, have the same name.

    All keys with the same name share the limits, so a client cannot send more requests by creating keys.
    """

    requests_per_second: int | None = None
    samples_per_second: int | None = None
    sample_mib_per_second: int | None = None
    samples_per_day: int | None = None
    sample_mib_per_day: int | None = None

    @property
    def values(self) -> dict[str, int]:
        """The limits that are set, by name."""
        names = (field.name for field in fields(self) if field.name != "name")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def description(self) -> str:
        """The limits in one line."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.values.items())


def effective_limits(limits: Limits, own: KeyLimits | None) -> Mapping[str, int]:
    """Return the limits that apply to a key, by field name of `KeyLimits`. 0 means no limit.

    If `own` does not set a limit, the limit per submitter applies.
    """
    values = {} if own is None else own.values
    names = (field.name for field in fields(KeyLimits) if field.name != "name")
    return {name: values.get(name) or getattr(limits, f"max_{name}_per_submitter") for name in names}
