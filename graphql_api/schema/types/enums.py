"""GraphQL descriptions for enums that other packages define."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import strawberry


def describe_enum(kind: type[Enum], description: str, values: Mapping[Any, str], *, name: str | None = None) -> None:
    """Register `kind` as a GraphQL enum, with a description for each member."""
    definition: Any = strawberry.enum(kind, name=name, description=description)
    for value in definition.__strawberry_definition__.values:
        value.description = values[kind[value.name]]
