"""The identity of a client, as the server reports it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from dropzone.encoding import parse_time


@dataclass(frozen=True, slots=True)
class Identity:
    """The submitter that a key or token belongs to, its scopes, and when it expires."""

    submitter: str
    scopes: tuple[str, ...]
    expires: datetime | None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the identity in a response of the server."""
        expires = values["expires"]
        return cls(values["submitter"], tuple(values["scopes"]), None if expires is None else parse_time(expires))
