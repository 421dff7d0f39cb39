"""The embedded Firestore on a machine with an earlier time: `python -m tests.infra.firestore.earlier_clock`."""

import sys
import time
from datetime import timedelta

from infra.embedded.firestore.__main__ import main

DIFFERENCE = timedelta(hours=5)

if __name__ == "__main__":
    time_ns = time.time_ns
    time.time_ns = lambda: time_ns() - int(DIFFERENCE.total_seconds()) * 1_000_000_000
    sys.exit(main())
