"""The CPU time of authenticating a request with an access token, as a share of that of a submit.

The check runs in this process, in a loop. The submits run as in the group `submits`.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

from graphql_api.auth.authenticator import Authenticator
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server.requests import request_headers
from tests.graphql_api.auth.oauth.provider import Provider, claims, sign
from tests.load.contest import DROPZONE, Measured, contest
from tests.load.plan import Plan, repeat
from tests.load.rows.submits import CONNECTIONS, VALUES
from tests.load.table import Figure, Goal, Row

_REMEMBERED, _NEW = 100_000, 300
_MAX_SHARE = 0.05


class _Check(NamedTuple):
    """The processor seconds of one check."""

    remembered: float
    new: float


def tokens(plan: Plan) -> Iterator[Row]:
    """Measure a token that was verified before, and new ones."""
    with contest(plan, peers=False) as alone:
        measured = alone.submits(VALUES, CONNECTIONS)[DROPZONE]
    assert isinstance(measured, Measured)
    submit = measured.busy / measured.outcome.rate
    check = repeat(plan, lambda: asyncio.run(_check()), by=lambda each: each.remembered)
    share = check.remembered / submit
    yield Row(
        "CPU time of a request's access token, verified before",
        Figure(check.remembered * 1e6, "µs", f"{share:.1%} of the {submit * 1e6:.0f} µs of a submit", False),
        goals=[Goal(f"{_MAX_SHARE:.0%} of a submit", share < _MAX_SHARE)],
    )
    yield Row("CPU time of an access token's first check, RS256", Figure(check.new * 1e6, "µs", "", False))


async def _check() -> _Check:
    provider = Provider()
    budgets = Budgets(Limits(max_failed_authentications_per_second=10**6))
    authenticator = Authenticator([provider.tokens()], budgets, provider.audit_log, cache_seconds=5)
    exp = int(time.time()) + 3_600
    requests = [_request(sign(claims(exp=exp, jti=str(number)))) for number in range(_NEW)]
    await authenticator.authenticate(request_headers.credential(requests[0]))  # reads the keys of the provider

    started = time.process_time()
    for request in requests[1:]:
        await authenticator.authenticate(request_headers.credential(request))
    new = (time.process_time() - started) / (_NEW - 1)

    started = time.process_time()
    for _ in range(_REMEMBERED):
        await authenticator.authenticate(request_headers.credential(requests[0]))
    return _Check((time.process_time() - started) / _REMEMBERED, new)


def _request(token: str) -> dict[str, object]:
    headers = {"host": "localhost", "content-type": "application/json", "authorization": f"Bearer {token}"}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": encoded, "client": ("127.0.0.1", 50_000)}
