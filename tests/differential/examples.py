"""How many examples each comparison tries.

`DIFFERENTIAL_EXAMPLES` says how many. Without it they are few and always the same, so that a comparison
fails because of a change and not of chance; with it they are new ones every time, and a failure prints how
to try it again. They are tried in rounds, since an embedded server keeps every index that a query asked for.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

ROUND = 100
ROUND_SECONDS = 900
_wanted = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "0"))
_examples = _wanted or 75
ROUNDS = -(-_examples // ROUND)


def examples(share: float = 1.0, *, shrinks: bool = True) -> Callable[[Any], Any]:
    """Return what makes a comparison take its share of the examples; not all can be made smaller in reasonable time."""
    tried = settings(
        max_examples=max(1, int(_examples / ROUNDS * share)),
        derandomize=not _wanted,
        database=None,
        deadline=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrinks else [])],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: pytest.mark.timeout(ROUND_SECONDS)(tried(test))
