"""A sender without a credential, for tests of budgets."""

from dataclasses import dataclass

from graphql_api.configuration.limits import KeyLimits


@dataclass(frozen=True)
class Sender:
    """Who sends."""

    submitter: str
    limits: KeyLimits | None = None
    label: str = ""
    operator: str = ""
