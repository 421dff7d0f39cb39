"""The size of a response is limited, apart from the submitted JSON in it."""

from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from graphql.pyutils import Path

from graphql_api.auth.scopes import Caller, Scope
from graphql_api.budgets.budgets import Budgets
from graphql_api.errors import TooComplex
from graphql_api.limits import Limits
from graphql_api.schema.context import Context

MIB = 2**20


def new_context() -> Context:
    """Return the context of an operation that can read samples of 64 MiB."""
    services = SimpleNamespace(budgets=Budgets(Limits()), receiver=SimpleNamespace(max_sample_bytes=64 * MIB))
    for name in Context.__init__.__code__.co_names:
        services.__dict__.setdefault(name, None)
    return Context(Caller("somebody", frozenset({Scope.READ}), str(uuid4())), cast(Any, services))


def test_lists_have_a_maximum_size() -> None:
    """A summary of 20,000 time buckets with 75 long aliases would have 200 MB."""
    context = new_context()

    context.check_response(24 * MIB)
    with pytest.raises(TooComplex) as refused:
        context.check_response(24 * MIB + 1)

    assert refused.value.limit == "max_response_bytes"


async def test_submitted_json_has_a_limit_of_its_own() -> None:
    """A number can be longer in the response than in the sample, such as `1e15`."""
    context = new_context()
    await context.raw_documents.add_to_response(Path(None, "raw", None), 20 * MIB)

    context.check_response(24 * MIB + 100 * MIB)
    with pytest.raises(TooComplex):
        context.check_response(24 * MIB + 100 * MIB + 1)
