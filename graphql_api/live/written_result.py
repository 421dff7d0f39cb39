"""One write of a result: its position among all writes, and the result itself."""

import logging
from datetime import datetime
from typing import Any

from storage.documents import Result
from storage.firestore import encoding

Position = tuple[datetime, str]
"""The position of a result in the order of the writes: the time of the write, then the id of the sample."""

logger = logging.getLogger(__name__)


class WrittenResult:
    """A result document as of one write. All subscribers share it, and it is decoded only once, on first use."""

    __slots__ = ("_document", "_result", "_submitter", "event", "position")

    def __init__(self, submitter: str, document: Any) -> None:
        self.position: Position = encoding.to_datetime(document.update_time), document.name.rpartition("/")[2]
        self.event: object = None
        """The event that subscribers receive. The first subscription sets it for all."""
        self._submitter = submitter
        self._document = document
        self._result: Result | None = None

    @property
    def result(self) -> Result | None:
        """The decoded result. None, with an error in the log, if the document is not a valid result."""
        if self._document is not None:
            document, self._document = self._document, None
            try:
                self._result = Result.from_fields(self._submitter, self.position[1], encoding.from_document(document))
            except (KeyError, TypeError, ValueError):
                logger.exception("skipped %s: not a valid result", document.name)
        return self._result
