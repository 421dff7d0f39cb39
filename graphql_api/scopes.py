"""Scopes: what an API key allows its caller to do.

Every root field of the schema (`schema/required_scopes.py`) and every HTTP endpoint (`endpoints/endpoint.py`)
declares a scope. A request without this scope fails with FORBIDDEN. No field and no endpoint declares `read-all`. This
scope lets an operator name another submitter in a request. The request then reads the documents of that submitter.
"""

from enum import StrEnum


class Scope(StrEnum):
    """A permission of an API key."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"
    READ_ALL = "read-all"
