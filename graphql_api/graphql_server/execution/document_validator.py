"""Validates a GraphQL document by the rules of the GraphQL specification, in steps of a few milliseconds."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from graphql import DocumentNode, GraphQLError, GraphQLSchema, validate
from graphql.validation import (
    ASTValidationRule,
    NoUndefinedVariablesRule,
    NoUnusedVariablesRule,
    OverlappingFieldsCanBeMergedRule,
    ValidationContext,
    ValuesOfCorrectTypeRule,
    VariablesInAllowedPositionRule,
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

_LONG_STEPS: list[list[type[ASTValidationRule]]] = [
    [NoUndefinedVariablesRule, NoUnusedVariablesRule, VariablesInAllowedPositionRule],
    [OverlappingFieldsCanBeMergedRule],
    [ValuesOfCorrectTypeRule],
]
"""Rules that each take up to 10 ms. Those about variables share this time, because graphql-core finds all uses once."""

_OTHER_RULES = [rule for rule in specified_rules if not any(rule in rules for rules in _LONG_STEPS)]
_STEPS = [*(_OTHER_RULES[start : start + 9] for start in range(0, len(_OTHER_RULES), 9)), *_LONG_STEPS]


def steps(
    schema: GraphQLSchema, document: DocumentNode, settings: GraphQLSettings
) -> Iterator[Callable[[], Sequence[GraphQLError]]]:
    """Yield functions that each check some rules and return the errors.

    A function raises `TooComplex` if graphql-core gives up, because the document compares or nests too many fragments.
    """
    for rules in _STEPS:
        max_errors = _MAX_VALUE_ERRORS if ValuesOfCorrectTypeRule in rules else MAX_ERRORS
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
