"""How many examples each comparison tries.

`DIFFERENTIAL_EXAMPLES` says how many. Without it they are few and always the same, so that a comparison
fails because of a change and not of chance; with it they are new ones every time, and a failure prints how
to try it again.
"""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

_EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "0"))


def examples(share: float = 1.0) -> Callable[[Any], Any]:
    """Return the settings of a comparison that takes its share of the examples."""
    return settings(
        max_examples=max(1, int((_EXAMPLES or 10) * share)),
        derandomize=not _EXAMPLES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
