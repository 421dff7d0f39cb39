"""The number of examples of each comparison.

By default the examples are few and always the same, so a comparison fails only because of a change. The environment
variable `DIFFERENTIAL_EXAMPLES` sets their number. The examples are then new in each run, and a failure prints how to
repeat it. Each round starts a new embedded server, because a server retains every index that a query has created.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

EXAMPLES_PER_ROUND = 100
ROUND_TIMEOUT_SECONDS = 900
_requested = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "0"))
_count = _requested or 75
ROUNDS = -(-_count // EXAMPLES_PER_ROUND)


def examples(share: float = 1.0, *, shrinks: bool = True) -> Callable[[Any], Any]:
    """Return a decorator that runs a comparison with a share of the examples.

    `shrinks` is false where making a failing example smaller would take too long.
    """
    configure = settings(
        max_examples=max(1, int(_count / ROUNDS * share)),
        derandomize=not _requested,
        database=None,
        deadline=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrinks else [])],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: pytest.mark.timeout(ROUND_TIMEOUT_SECONDS)(configure(test))
