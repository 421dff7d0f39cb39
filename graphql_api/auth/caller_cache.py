"""The callers of valid credentials, so that most requests read nothing from Firestore."""

from collections import OrderedDict
from typing import NamedTuple

from graphql_api.auth.scopes import Caller

MAX_ENTRIES = 10_000
MAX_ENTRIES_PER_SUBMITTER = 1_000


class CacheEntry(NamedTuple):
    """The caller of a valid credential, and the monotonic time when the credential must be read again."""

    caller: Caller
    expires_at: float


class CallerCache:
    """Cached callers by credential. If there are too many, the least recently used entry is removed.

    A submitter has a limited number of entries. The many credentials of one submitter therefore do not remove the
    entries of others. An unknown credential is subject to limits that do not apply to a cached one.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, CacheEntry] = OrderedDict()
        self._of_submitter: dict[str, OrderedDict[str, None]] = {}

    def __contains__(self, credential: str) -> bool:
        return credential in self._entries

    def get(self, credential: str) -> CacheEntry | None:
        """Return the entry of a credential, or None."""
        entry = self._entries.get(credential)
        if entry is not None:
            self._entries.move_to_end(credential)
            self._of_submitter[entry.caller.submitter].move_to_end(credential)
        return entry

    def put(self, credential: str, entry: CacheEntry) -> None:
        """Add or replace the entry of a credential."""
        self.remove(credential)
        own = self._of_submitter.setdefault(entry.caller.submitter, OrderedDict())
        if len(own) >= MAX_ENTRIES_PER_SUBMITTER:
            self.remove(next(iter(own)))
        elif len(self._entries) >= MAX_ENTRIES:
            self.remove(next(iter(self._entries)))
        self._entries[credential] = entry
        self._of_submitter.setdefault(entry.caller.submitter, own)[credential] = None

    def remove(self, credential: str) -> None:
        """Remove the entry of a credential, if there is one."""
        entry = self._entries.pop(credential, None)
        if entry is not None:
            own = self._of_submitter[entry.caller.submitter]
            del own[credential]
            if not own:
                del self._of_submitter[entry.caller.submitter]
