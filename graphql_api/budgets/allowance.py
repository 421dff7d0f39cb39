"""An allowance: the requests and samples that the credentials of one submitter, or keys with shared limits, may send.

The response headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11) say how much a
submitter may send and how much is left. The endpoints store the allowance of a sender in the ASGI scope of a request.
The middleware that completes the headers of responses reads the allowance from there.
"""

from collections.abc import MutableMapping
from typing import Any

from graphql_api.budgets.budget import RateBudget
from graphql_api.budgets.daily_quota import ChangedQuotas, DailyQuota
from graphql_api.configuration.limits import KeyLimits, Limits, effective_limits

_MIB = 2**20
_SCOPE_KEY = "allowance"


class Allowance:
    """The requests and samples that the credentials of one submitter, or the keys that share limits, may send."""

    __slots__ = (
        "_changed_quotas",
        "_limits",
        "_own",
        "_policy_header",
        "quota",
        "requests",
        "sample_bytes",
        "sample_count",
        "submitter",
    )

    def __init__(
        self,
        limits: Limits,
        own: KeyLimits | None,
        submitter: str = "",
        changed_quotas: ChangedQuotas | None = None,
    ) -> None:
        """Apply `limits`. The limits that are set in `own` replace them.

        If the daily quota has changes that are not stored yet, it is in `changed_quotas`.
        """
        self._limits = limits
        self._own = own
        self.submitter = submitter
        self._changed_quotas = ChangedQuotas() if changed_quotas is None else changed_quotas
        allowed = effective_limits(limits, own)
        self.requests = RateBudget(
            "max_requests_per_second_per_submitter", allowed["requests_per_second"], policy="requests"
        )
        self.sample_count = RateBudget(
            "max_samples_per_second_per_submitter", allowed["samples_per_second"], policy="sample-count"
        )
        self.sample_bytes = RateBudget(
            "max_sample_mib_per_second_per_submitter", allowed["sample_mib_per_second"] * _MIB, policy="sample-bytes"
        )
        self.quota: DailyQuota | None = None
        self._set_quota(allowed["samples_per_day"], allowed["sample_mib_per_day"] * _MIB)
        self._policy_header = self._policies()

    def set_limits(self, own: KeyLimits) -> None:
        """Replace the limits of the key. Earlier use still counts."""
        if own == self._own:
            return
        self._own = own
        allowed = effective_limits(self._limits, own)
        self.requests.set_rate(allowed["requests_per_second"])
        self.sample_count.set_rate(allowed["samples_per_second"])
        self.sample_bytes.set_rate(allowed["sample_mib_per_second"] * _MIB)
        self._set_quota(allowed["samples_per_day"], allowed["sample_mib_per_day"] * _MIB)
        self._policy_header = self._policies()

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
        """The number of seconds until `admit_samples` succeeds. 0 if it succeeds now."""
        return max(self.sample_count.delay_seconds, self.sample_bytes.delay_seconds)

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
        """The headers `RateLimit-Policy` and `RateLimit` of a response that starts now."""
        left = self.requests.refill(), self.sample_count.refill(), self.sample_bytes.refill()
        if min(left) > 0:  # the next request is allowed, and the budget is full again within a second
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

    def _set_quota(self, max_samples: int, max_bytes: int) -> None:
        if self.quota is not None:  # the usage of the day still counts when there is a limit again
            self.quota.max_samples, self.quota.max_bytes = max_samples, max_bytes
        elif max_samples or max_bytes:
            self.quota = DailyQuota(
                self.submitter,
                "" if self._own is None else self._own.name,
                max_samples=max_samples,
                max_bytes=max_bytes,
                changed=self._changed_quotas,
            )

    def _policies(self) -> tuple[bytes, bytes]:
        policies = [
            f'"requests";q={self.requests.per_second};w=1',
            f'"sample-count";q={self.sample_count.per_second};w=1;dropzone-unit="samples"',
            f'"sample-bytes";q={self.sample_bytes.per_second};w=1;qu="content-bytes"',
            *(self.quota.policies if self.quota else ()),
        ]
        return b"ratelimit-policy", ", ".join(policies).encode()


def set_allowance(scope: MutableMapping[str, Any], allowance: Allowance) -> None:
    """Store the allowance of the sender of a request, so that the headers of the response contain it."""
    scope[_SCOPE_KEY] = allowance


def allowance_of(scope: MutableMapping[str, Any]) -> Allowance | None:
    """Return the allowance of the sender of a request, or None if it has no allowance."""
    allowance = scope.get(_SCOPE_KEY)
    return allowance if isinstance(allowance, Allowance) else None
