"""Validates a GraphQL document by the rules of the GraphQL specification, in steps of a few milliseconds."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from graphql import DocumentNode, GraphQLError, GraphQLSchema, validate
from graphql.validation import (
    ASTValidationRule,
    OverlappingFieldsCanBeMergedRule,
    ValidationContext,
    ValuesOfCorrectTypeRule,
    specified_rules,
)
from graphql.validation.validate import ValidationAbortedError

from graphql_api.graphql_server.execution import operation_limits
from graphql_api.graphql_server.settings import GraphQLSettings

MAX_ERRORS = 10
_MAX_VALUE_ERRORS = 3
"""The message of an error contains the whole value. Printing a value of 9 KB takes 3 ms."""

_UNITS_PER_COMPARISON = 3
"""How many units of work graphql-core counts for a comparison of two fields."""

_STRUCTURE_RULES = [rule for rule in specified_rules if rule is not ValuesOfCorrectTypeRule]
_STEPS: list[tuple[Sequence[type[ASTValidationRule]], int]] = [
    *((_STRUCTURE_RULES[start : start + 7], MAX_ERRORS) for start in range(0, len(_STRUCTURE_RULES), 7)),
    ([ValuesOfCorrectTypeRule], _MAX_VALUE_ERRORS),
]
"""Rules, and the number of errors after which their step ends."""


def steps(
    schema: GraphQLSchema, document: DocumentNode, settings: GraphQLSettings
) -> Iterator[Callable[[], Sequence[GraphQLError]]]:
    """Yield functions that each check some rules and return the errors.

    A function raises `TooComplex` if graphql-core gives up, because the document compares or nests too many fragments.
    """
    for rules, max_errors in _STEPS:
        yield partial(_check, schema, document, settings, rules, max_errors)


def _check(
    schema: GraphQLSchema,
    document: DocumentNode,
    settings: GraphQLSettings,
    rules: Sequence[type[ASTValidationRule]],
    max_errors: int,
) -> Sequence[GraphQLError]:
    """Return the errors of some rules. A rule is part of a reference cycle, so it must not refer to the document."""
    visitors: list[ASTValidationRule] = []

    def create(rule: type[ASTValidationRule], context: ValidationContext) -> ASTValidationRule:
        visitor = rule(context)
        visitors.append(visitor)
        if isinstance(visitor, OverlappingFieldsCanBeMergedRule):
            visitor.rule_context.remaining_complexity_budget = settings.max_comparisons * _UNITS_PER_COMPARISON
        return visitor

    created: Any = [partial(create, rule) for rule in rules]
    try:
        errors = validate(schema, document, created, max_errors=max_errors, hide_suggestions=True)
    finally:
        for visitor in visitors:
            vars(visitor).clear()
    if errors and len(errors) <= max_errors and isinstance(errors[-1], ValidationAbortedError):
        raise operation_limits.too_many_fragments()
    return errors
