"""An entry of the audit log: the facts about one action as fields, and as one human-readable sentence.

The sentence `details` is derived from the fields. Entries of earlier versions have only the sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import islice
from typing import Any, Self

from graphql_api.auth.secret_text import SHOWN_DIGITS
from storage.documents import document_paths

MAX_SAMPLE_IDS = 100
"""The maximum number of ids in an entry. `sample_count` is the number of all ids in the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFacts:
    """The facts about an action. A fact that does not apply is None, or an empty sequence."""

    key_digest: str | None = None
    """The digest of the key that was changed or refused."""
    label: str | None = None
    """The label of the key that was changed or refused."""
    change: str | None = None
    """What was changed, or the new value of a setting."""
    deletion: str | None = None
    """The id of the deletion that was started."""
    recomputation: str | None = None
    """The id of the recomputation that was started."""
    sample_ids: Sequence[str] = ()
    """The ids of the samples, at most `MAX_SAMPLE_IDS`."""
    sample_count: int | None = None
    """The number of ids in the request, if it has ids."""
    filter: str | None = None
    """The filter of a deletion or recomputation, as JSON."""
    issuer: str | None = None
    """The issuer of a refused token. None if the signature of the token is not valid."""
    subject: str | None = None
    """The subject of the refused token."""
    reason: str | None = None
    """Why samples were deleted, or why a credential was refused."""

    @classmethod
    def from_fields(cls, stored: Mapping[str, object]) -> Self:
        """Return the facts of a stored entry."""
        values: dict[str, Any] = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
        return cls(**values)

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored entry: the facts that apply."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if name == "sample_ids" else value
            for name, value in values.items()
            if value not in (None, "", ())
        }

    @property
    def sentence(self) -> str:
        """The facts as a human-readable text."""
        parts = [
            self.key_digest and f"key {self.key_digest[:SHOWN_DIGITS]}",
            self.label and f'"{self.label}"',
            self.change,
            self.deletion and f"deletion {self.deletion} of",
            self.recomputation and f"recomputation {self.recomputation} of",
            self._samples,
            self.issuer and f"issuer {self.issuer}, subject {self.subject}",
        ]
        what = " ".join(part for part in parts if part)
        return ": ".join(part for part in (what, self.reason) if part)

    @property
    def _samples(self) -> str:
        if self.sample_count == 1 and self.sample_ids:
            return f"sample {self.sample_ids[0]}"
        if self.sample_count is not None:
            return f"{self.sample_count} ids"
        if self.filter is not None:
            return f"everything that passes the filter {self.filter}"
        return "all outdated results" if self.recomputation else ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action."""

    id: str
    at: datetime
    actor: str
    """The credential that acted, such as `key 0123456789ab`, or `operator` for the command line."""
    action: str
    details: str
    """The facts as a human-readable text."""
    facts: AuditFacts


def facts_of_samples(
    ids: Sequence[str], *, deletion: str | None = None, recomputation: str | None = None, reason: str = ""
) -> AuditFacts:
    """Return the facts of an action on samples that a client has listed. A text that cannot be an id is left out."""
    known = (sample_id for sample_id in dict.fromkeys(ids) if document_paths.is_uuid(sample_id))
    return AuditFacts(
        deletion=deletion,
        recomputation=recomputation,
        sample_ids=tuple(islice(known, MAX_SAMPLE_IDS)),
        sample_count=len(ids),
        reason=reason or None,
    )
