"""What a sender may send, and how the response headers say it."""

import re

import pytest

from graphql_api.budgets.allowance import Allowance, allowance_of, set_allowance
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import MAX_LIMIT, KeyLimits, Limits
from graphql_api.error_entries import describe
from graphql_api.errors import QuotaExceeded
from storage.documents import RateLimited
from tests.graphql_api.budgets.sender import Sender

MIB = 2**20
LIMITS = Limits(
    max_requests_per_second_per_submitter=3,
    max_samples_per_second_per_submitter=10,
    max_sample_mib_per_second_per_submitter=1,
)
STRING_ITEM = re.compile(r'"([a-z-]+)"((?:;[a-z-]+=(?:\d+|"[a-z-]+"))+)')


def items(header: bytes) -> dict[str, dict[str, str]]:
    """Return the parameters of each item of a header: a list of strings with parameters (RFC 9651)."""
    parsed = {}
    for item in header.decode().split(", "):
        match = STRING_ITEM.fullmatch(item)
        assert match is not None, item
        parsed[match[1]] = dict(pair.split("=") for pair in match[2][1:].split(";"))
    return parsed


def test_the_headers_say_what_is_allowed_and_what_is_left() -> None:
    """Each policy has a quota and a window, and each item of `RateLimit` names a policy."""
    allowance = Allowance(LIMITS, None)
    allowance.admit_samples(4, MIB // 2)
    allowance.admit_request()

    (policy_name, policies), (name, left) = allowance.headers

    assert (policy_name, name) == (b"ratelimit-policy", b"ratelimit")
    assert items(policies) == {
        "requests": {"q": "3", "w": "1"},
        "sample-count": {"q": "10", "w": "1", "dropzone-unit": '"samples"'},
        "sample-bytes": {"q": str(MIB), "w": "1", "qu": '"content-bytes"'},
    }
    remaining = {policy: int(parameters["r"]) for policy, parameters in items(left).items()}
    assert remaining["requests"] in (2, 3)
    assert 6 <= remaining["sample-count"] <= 10
    assert MIB // 2 <= remaining["sample-bytes"] <= MIB
    assert {parameters["t"] for parameters in items(left).values()} == {"1"}


def test_the_maximum_of_a_limit_fits_into_the_headers() -> None:
    """An integer in such a header has at most 15 digits (RFC 9651)."""
    limits = Limits(max_sample_mib_per_second_per_submitter=MAX_LIMIT, max_sample_mib_per_day_per_submitter=MAX_LIMIT)

    (_, policies), (_, left) = Allowance(limits, None).headers

    numbers = [*re.findall(rb"\d+", policies), *re.findall(rb"\d+", left)]
    assert max(map(len, numbers)) == 15


def test_an_exhausted_policy_says_when_more_is_allowed() -> None:
    """The header, the error and its description in GraphQL agree."""
    allowance = Allowance(LIMITS, None)
    allowance.admit_samples(10_000, 0)

    with pytest.raises(QuotaExceeded) as refused:
        allowance.admit_samples(1, 0)

    samples = items(allowance.headers[1][1])["sample-count"]
    assert samples["r"] == "0"
    assert 990 <= int(samples["t"]) <= refused.value.retry_after <= 999
    assert describe(refused.value)["extensions"] == {
        "code": "RATE_LIMITED",
        "limit": "max_samples_per_second_per_submitter",
        "retryAfter": refused.value.retry_after,
        "rateLimit": {
            "policy": "sample-count",
            "quota": 10,
            "window": 1,
            "remaining": 0,
            "reset": refused.value.retry_after,
        },
    }


def test_refused_samples_are_not_counted() -> None:
    """Bytes that exceed their limit do not use up the number of samples."""
    allowance = Allowance(LIMITS, None)
    allowance.admit_samples(1, 100 * MIB)
    for _ in range(20):
        with pytest.raises(QuotaExceeded, match="max_sample_mib_per_second_per_submitter"):
            allowance.admit_samples(1, 1)

    assert allowance.sample_count.refill() >= 9
    assert allowance.delay_seconds > 90


def test_a_key_with_limits_has_an_allowance_of_its_own() -> None:
    """It neither uses that of the other keys, nor do they use its own. Keys of one name share theirs."""
    budgets = Budgets(LIMITS)
    slow = KeyLimits(name="0123456789ab", samples_per_second=1)
    budgets.admit_samples(Sender("a", slow), 100, 0)

    with pytest.raises(RateLimited):
        budgets.admit_samples(Sender("a", KeyLimits(name="0123456789ab", samples_per_second=1)), 1, 0)
    budgets.admit_samples(Sender("a", KeyLimits(name="another", samples_per_second=1)), 1, 0)
    budgets.admit_samples(Sender("a"), 1, 0)
    assert budgets.allowance(Sender("a", slow)).requests.per_second == 3


def test_what_was_used_still_counts_after_a_change_of_limits() -> None:
    """Otherwise a key could get a new allowance with each change."""
    budgets = Budgets(LIMITS)

    def sender(**limits: int) -> Sender:
        return Sender("a", KeyLimits(name="0123456789ab", **limits))

    budgets.admit_samples(sender(samples_per_second=100, samples_per_day=1_000), 1_000, 0)
    with pytest.raises(RateLimited, match="max_samples_per_day"):
        budgets.admit_samples(sender(samples_per_second=99, samples_per_day=999), 1, 0)
    with pytest.raises(RateLimited, match="max_samples_per_second"):
        budgets.admit_samples(sender(samples_per_second=98), 1, 0)

    policies = items(budgets.allowance(sender(samples_per_second=98)).headers[0][1])
    assert (policies["sample-count"]["q"], policies["requests"]["q"]) == ("98", "3")


def test_callers_that_know_different_limits_of_one_key_get_no_more_together() -> None:
    """Each caller is cached with the limits at its time, so requests with earlier and later limits alternate."""
    budgets = Budgets(LIMITS)
    low = Sender("a", KeyLimits(name="0123456789ab", samples_per_second=10, samples_per_day=20))
    high = Sender("a", KeyLimits(name="0123456789ab", samples_per_second=100))

    def admitted(sender: Sender) -> int:
        try:
            budgets.admit_samples(sender, 1, 0)
        except RateLimited:
            return 0
        return 1

    assert sum(admitted(sender) for _ in range(1_000) for sender in (low, high)) <= 500  # even on a slow machine
    quota = budgets.allowance(low).quota
    assert quota is not None
    assert quota.used.samples >= 10


def test_an_allowance_is_remembered_until_all_of_it_is_left() -> None:
    """A sender in debt cannot lose it by the number of other senders."""
    budgets = Budgets(LIMITS)
    budgets.admit_samples(Sender("a"), 100_000, 0)
    for number in range(3_000):
        budgets.allowance(Sender(f"other-{number}"))

    with pytest.raises(RateLimited):
        budgets.admit_samples(Sender("a"), 1, 0)


def test_the_usage_of_a_day_is_remembered_when_the_rate_is_free_again() -> None:
    """A submitter would otherwise get a new daily quota by the number of other senders."""
    budgets = Budgets(LIMITS)
    sender = Sender("a", KeyLimits(name="0123456789ab", samples_per_second=1_000_000, samples_per_day=10))
    budgets.admit_samples(sender, 10, 0)
    for number in range(3_000):
        budgets.allowance(Sender(f"other-{number}", KeyLimits(name="another", samples_per_second=1)))

    with pytest.raises(RateLimited, match="max_samples_per_day"):
        budgets.admit_samples(sender, 1, 0)


def test_the_scope_of_a_request_has_the_allowance_of_its_sender() -> None:
    """The scope of a request without a valid credential has none."""
    allowance = Allowance(LIMITS, None)
    scope: dict[str, object] = {}
    assert allowance_of(scope) is None

    set_allowance(scope, allowance)

    assert allowance_of(scope) is allowance
