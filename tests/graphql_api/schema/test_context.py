"""The size of the lists of a response is limited, apart from fields with submitted JSON."""

from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from graphql.pyutils import Path

from graphql_api.auth.caller import Caller
from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.errors import TooComplex
from graphql_api.schema.context import Context
from graphql_api.scopes import Scope

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


async def test_fields_with_much_submitted_json_are_named() -> None:
    """Encoding their lists in steps would copy this JSON once more than memory is reserved for."""
    context = new_context()
    before = context.fields_with_documents()
    paths = [Path(Path(Path(None, root, None), 0, None), "raw", None) for root in ("a", "b")]
    await context.raw_documents.add_to_response(paths[0], MIB)
    small = context.fields_with_documents()
    await context.raw_documents.add_to_response(paths[1], 1)

    assert (set(before), set(small), set(context.fields_with_documents())) == (set(), set(), {"a", "b"})
