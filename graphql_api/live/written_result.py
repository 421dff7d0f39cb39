"""One write of a result: the result, and the position of the write among all writes."""

import logging
from datetime import datetime
from typing import Any

from storage.documents import Result
from storage.firestore import encoding

Position = tuple[datetime, str]
"""The position of a result in the order of the writes: the time of the write, then the id of the sample."""

logger = logging.getLogger(__name__)


class WrittenResult:
    """A result document at the time of one write. All subscribers share it. It is decoded once, on first use."""

    __slots__ = ("_document", "_result", "_submitter", "event", "position")

    def __init__(self, submitter: str, document: Any) -> None:
        self.position: Position = encoding.to_datetime(document.update_time), document.name.rpartition("/")[2]
        self.event: object = None
        """The event that subscribers receive. The first subscription sets it for all subscriptions."""
        self._submitter = submitter
        self._document = document
        self._result: Result | None = None

    @property
    def result(self) -> Result | None:
        """The decoded result, or None if the document is not a valid result. In that case the log has an error."""
        if self._document is not None:
            document, self._document = self._document, None
            try:
                self._result = Result.from_fields(self._submitter, self.position[1], encoding.from_document(document))
            except (KeyError, TypeError, ValueError):
                logger.exception("skipped %s: not a valid result", document.name)
        return self._result
