"""What one submitter may send: requests, samples and bytes per second, and samples and bytes per day.

The response headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11) say how much that is
and how much is left. The endpoints announce an allowance in the ASGI scope of a request. The middleware that completes
the headers of responses reads it there.
"""

from collections.abc import MutableMapping
from typing import Any, Protocol

from graphql_api.budgets.budget import RateBudget
from graphql_api.budgets.daily_quota import ChangedQuotas, DailyQuota
from graphql_api.limits import KeyLimits, Limits

_SCOPE_KEY = "allowance"
_MIB = 2**20


class Sender(Protocol):
    """Who sends a request or a sample."""

    @property
    def submitter(self) -> str:
        """The submitter whose documents are used."""

    @property
    def charged_submitter(self) -> str:
        """The submitter to whom the credential belongs."""

    @property
    def limits(self) -> KeyLimits | None:
        """The limits of the credential, or None if those of its submitter apply."""

    @property
    def label(self) -> str:
        """The text by which readers of the submitter recognize the credential."""


class Allowance:
    """What the credentials of one submitter, or one key with its own limits, may send."""

    __slots__ = ("_policy_header", "quota", "requests", "sample_bytes", "sample_count")

    def __init__(
        self,
        limits: Limits,
        own: KeyLimits | None,
        submitter: str = "",
        changed_quotas: ChangedQuotas | None = None,
    ) -> None:
        """Allow what `limits` says, and what `own` says instead.

        If something is to be stored about the daily quota, it is in `changed_quotas`.
        """
        self.requests = RateBudget(
            "max_requests_per_second_per_submitter",
            (own and own.requests_per_second) or limits.max_requests_per_second_per_submitter,
            policy="requests",
        )
        self.sample_count = RateBudget(
            "max_samples_per_second_per_submitter",
            (own and own.samples_per_second) or limits.max_samples_per_second_per_submitter,
            policy="sample-count",
        )
        self.sample_bytes = RateBudget(
            "max_sample_mib_per_second_per_submitter",
            ((own and own.sample_mib_per_second) or limits.max_sample_mib_per_second_per_submitter) * _MIB,
            policy="sample-bytes",
        )
        self.quota: DailyQuota | None = None
        max_samples = (own and own.samples_per_day) or limits.max_samples_per_day_per_submitter
        max_mib = (own and own.sample_mib_per_day) or limits.max_sample_mib_per_day_per_submitter
        if max_samples or max_mib:
            self.quota = DailyQuota(
                submitter,
                "" if own is None else own.name,
                max_samples=max_samples,
                max_bytes=max_mib * _MIB,
                changed=ChangedQuotas() if changed_quotas is None else changed_quotas,
            )
        policies = [
            f'"requests";q={self.requests.per_second};w=1',
            f'"sample-count";q={self.sample_count.per_second};w=1;dropzone-unit="samples"',
            f'"sample-bytes";q={self.sample_bytes.per_second};w=1;qu="content-bytes"',
            *(self.quota.policies if self.quota else ()),
        ]
        self._policy_header = b"ratelimit-policy", ", ".join(policies).encode()

    def admit_request(self) -> None:
        """Count a request. Raises `QuotaExceeded` if there were too many."""
        self.requests.take()

    def admit_samples(self, count: int, byte_count: int) -> None:
        """Count samples. Raises `QuotaExceeded`, and counts nothing, if there were too many before."""
        quota = self.quota
        if quota is not None:
            quota.check(count, byte_count)
        self.sample_bytes.check()
        self.sample_count.take(count)
        self.sample_bytes.take(byte_count)
        if quota is not None:
            quota.add(count, byte_count)

    @property
    def delay_seconds(self) -> float:
        """How long until `admit_samples` succeeds. 0 if it succeeds now."""
        return max(self.sample_count.delay_seconds, self.sample_bytes.delay_seconds)

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
        """The headers `RateLimit-Policy` and `RateLimit` of a response that starts now."""
        left = self.requests.refill(), self.sample_count.refill(), self.sample_bytes.refill()
        if min(left) > 0:  # more is allowed within a second, and the next request in any case
            value = b'"requests";r=%d;t=1, "sample-count";r=%d;t=1, "sample-bytes";r=%d;t=1' % left
        else:
            budgets = self.requests, self.sample_count, self.sample_bytes
            items = (f'"{each.policy}";r={max(0, int(each.refill()))};t={each.wait_seconds}' for each in budgets)
            value = ", ".join(items).encode()
        if self.quota is not None:
            value = b", ".join([value, *(item.encode() for item in self.quota.items)])
        return self._policy_header, (b"ratelimit", value)

    @property
    def is_unused(self) -> bool:
        """Whether this allowance is the same as a new one."""
        is_full = self.requests.is_full and self.sample_count.is_full and self.sample_bytes.is_full
        return is_full and (self.quota is None or not self.quota.used.samples)


def announce(scope: MutableMapping[str, Any], allowance: Allowance) -> None:
    """Let the response to a request say what its sender may still send."""
    scope[_SCOPE_KEY] = allowance


def announced(scope: MutableMapping[str, Any]) -> Allowance | None:
    """Return the allowance of the sender of a request, or None if none is announced."""
    allowance = scope.get(_SCOPE_KEY)
    return allowance if isinstance(allowance, Allowance) else None
