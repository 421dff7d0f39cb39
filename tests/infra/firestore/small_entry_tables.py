"""The embedded Firestore with small entry tables: `python -m tests.infra.firestore.small_entry_tables`.

Merges of index entries then run after a few commits, not after thousands.
"""

import sys

from infra.embedded.firestore.__main__ import main
from infra.embedded.firestore.indexes import entry_merges

if __name__ == "__main__":
    entry_merges.MAX_OPEN_ENTRIES = 20
    entry_merges.MIN_CHANGED_ROWS = 5
    sys.exit(main())
