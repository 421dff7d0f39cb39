"""A result as it was written: read when somebody looks at it, once for all who do."""

import logging
from datetime import datetime
from typing import Any

from storage.documents import Result
from storage.firestore import encoding

Place = tuple[datetime, str]
"""Where a result stands in the order of the writes: the time of the write, then the id of the sample."""

logger = logging.getLogger(__name__)


class Written:
    """The document of a result at the time when it was written."""

    __slots__ = ("_document", "_result", "_submitter", "place", "shown")

    def __init__(self, submitter: str, document: Any) -> None:
        self.place: Place = encoding.to_datetime(document.update_time), document.name.rpartition("/")[2]
        self.shown: object = None
        """What subscribers are shown of it, made once for all of them."""
        self._submitter = submitter
        self._document = document
        self._result: Result | None = None

    @property
    def result(self) -> Result | None:
        """What the document says; nothing, but for a line in the log, where it is no result."""
        if self._document is not None:
            document, self._document = self._document, None
            try:
                self._result = Result.from_fields(self._submitter, self.place[1], encoding.from_document(document))
            except (KeyError, TypeError, ValueError):
                logger.exception("passed over %s, which is no result", document.name)
        return self._result
