"""A request names an operation: its text is parsed, measured and validated.

Operations that were found valid are kept by their text, so the common request pays for none of the three.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    parse,
    validate,
)

from graphql_api import errors
from graphql_api.errors import TooComplex
from graphql_api.graphql_server.execution import operation_limits
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest, VariableReader
from graphql_api.graphql_server.execution.plans import Plan, plan
from graphql_api.graphql_server.execution.responses import Answer
from graphql_api.graphql_server.execution.shared_events import Question, uses_variables
from graphql_api.graphql_server.settings import TransportSettings
from storage.documents.errors import BadRequest, DropzoneError

MAX_ERRORS = 10


class InvalidOperation(Exception):
    """The request will not be executed; `answer` says why."""

    def __init__(self, described: Sequence[dict[str, Any]]) -> None:
        super().__init__(described[0]["message"])
        self.answer = Answer(orjson.dumps({"errors": described}), executed=False)


class Operation(NamedTuple):
    """One operation of a valid document."""

    document: DocumentNode
    name: str | None
    type: OperationType
    variables: VariableReader
    plan: Plan | None

    uses_variables: bool
    """Whether answers to its events depend on variables, and not only which events there are."""

    def question(self, request: GraphQLRequest) -> Question:
        """Return what is the same where the same is asked of an event."""
        variables = request.variables if self.uses_variables else None
        return request.query, self.name, b"" if variables is None else sha256(variables).digest()

    def __str__(self) -> str:
        return f"{self.type.value} {self.name or 'without a name'}"


class Operations:
    """The valid operations of one schema."""

    def __init__(self, schema: GraphQLSchema, settings: TransportSettings) -> None:
        self._schema = schema
        self._settings = settings
        self._cache = _Cache(settings)

    def find(self, request: GraphQLRequest) -> Operation:
        """Find the operation that is asked for, or raise `InvalidOperation`."""
        longest = self._settings.max_document_length
        if len(request.query) > longest:
            raise _invalid(TooComplex(f"The document has over {longest} characters; send values as variables."))
        operations = self._cache.get(request.query)
        if operations is None:
            operations = self._read(request.query)
            self._cache.put(request.query, operations)
        name = request.operation_name
        if name is None and len(operations) == 1:
            return next(iter(operations.values()))
        if name is None:
            raise _invalid(BadRequest("The document has several operations; `operationName` says which."))
        if name not in operations:
            raise _invalid(BadRequest(f"The document has no operation named `{errors.shorten(name, 60)}`."))
        return operations[name]

    def _read(self, text: str) -> dict[str | None, Operation]:
        try:
            document = parse(
                text,
                max_lexical_tokens=self._settings.max_tokens,
                max_comments=self._settings.max_tokens,
            )
        except GraphQLError as error:
            raise InvalidOperation(errors.describe_request_errors([error], errors.PARSE_FAILED)) from None
        try:
            operation_limits.check(document, self._settings)
        except DropzoneError as error:
            raise _invalid(error) from None
        problems = validate(self._schema, document, max_errors=MAX_ERRORS, hide_suggestions=True)
        if problems:
            raise InvalidOperation(errors.describe_request_errors(problems, errors.VALIDATION_FAILED))
        return {
            (definition.name.value if definition.name else None): Operation(
                document,
                definition.name.value if definition.name else None,
                definition.operation,
                VariableReader(definition, self._settings),
                plan(self._schema, definition),
                uses_variables(document, definition),
            )
            for definition in document.definitions
            if isinstance(definition, OperationDefinitionNode)
        }


def _invalid(error: DropzoneError) -> InvalidOperation:
    return InvalidOperation([errors.describe(error)])


class _Cache:
    """The operations of documents, least recently used first, bounded by number and by length of text."""

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._entries: OrderedDict[str, dict[str | None, Operation]] = OrderedDict()
        self._length = 0

    def get(self, text: str) -> dict[str | None, Operation] | None:
        operations = self._entries.get(text)
        if operations is not None:
            self._entries.move_to_end(text)
        return operations

    def put(self, text: str, operations: dict[str | None, Operation]) -> None:
        # One document may not push out all the others.
        if len(text) > self._settings.max_operation_cache_length // 16:
            return
        self._entries[text] = operations
        self._length += len(text)
        while (
            self._length > self._settings.max_operation_cache_length
            or len(self._entries) > self._settings.max_cached_operations
        ):
            evicted, _ = self._entries.popitem(last=False)
            self._length -= len(evicted)
