"""The document that shows how often an event has failed. Clients can read it while the event is not delivered.

The trigger names the document with `failed_attempts_document`. The field `attempts` is the number of failed attempts,
and `problem` is the problem of the last attempt. Event delivery writes the document itself. The document therefore
exists even if the function crashes at each attempt.

The document is written after 2, 4, 8, ... failed attempts, and deleted when the event is acknowledged or
becomes a dead letter. Most events are acknowledged at the first attempt, so they cause no write.
"""

from typing import Any

from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.delivery.delivery import Delivery, State
from infra.embedded.eventarc.path_patterns import Pattern
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore import messages as m
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.writes.document_write import PreparedWrite, prepare

MIN_ATTEMPTS = 2
MAX_PROBLEM_CHARACTERS = 300


class FailedAttemptsWriter:
    """Prepares the writes of the documents of one trigger."""

    def __init__(self, trigger: Trigger) -> None:
        self._document = trigger.failed_attempts_document
        self._pattern = Pattern(trigger.document)

    def after_failure(self, delivery: Delivery) -> PreparedWrite | None:
        """Return the write that records a failed attempt, or None if there is nothing to record."""
        if delivery.state is State.DEAD:
            return self.after_acknowledgement(delivery)
        name = self._name(delivery)
        is_power_of_two = delivery.attempts & (delivery.attempts - 1) == 0
        if name is None or not (is_power_of_two or delivery.state is State.GIVEN_UP):
            return None
        problem = delivery.problem[:MAX_PROBLEM_CHARACTERS]
        fields = {
            "attempts": m.Value(integer_value=delivery.attempts),
            "problem": m.Value(string_value=problem if problem.isprintable() else ascii(problem)[1:-1]),
        }
        return _prepared(name, m.Write(update=m.Document(name=name, fields=fields)))

    def after_acknowledgement(self, delivery: Delivery) -> PreparedWrite | None:
        """Return the write that deletes the document, or None if the document cannot exist."""
        name = self._name(delivery)
        return None if name is None else _prepared(name, m.Write(delete=name))

    def _name(self, delivery: Delivery) -> str | None:
        """Return the name of the document, or None if it cannot exist."""
        if self._document is None or delivery.attempts < MIN_ATTEMPTS:
            return None
        project, database, path = cloudevent.split_name(delivery.change.name)
        values = self._pattern.values(path)
        if values is None:  # the trigger has changed
            return None
        return f"projects/{project}/databases/{database}/documents/{self._document.format_map(values)}"


def _prepared(name: str, write: Any) -> PreparedWrite | None:
    try:
        return prepare(write, name.partition("/documents/")[0])
    except StatusError:  # the name is longer than Firestore allows
        return None
