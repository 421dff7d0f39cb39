"""Finds the operation of a request. A document that is not in the cache is parsed, measured and validated.

The cache maps the text of a valid document to its operations. The number of cached documents and the total length of
their texts are limited. A document enters the cache when it is sent for the second time. Documents that contain values
are usually sent once. They would evict other documents and fragment the memory.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from cachetools import LRUCache
from graphql import (
    BREAK,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    OperationType,
    Visitor,
    VisitorAction,
    visit,
)

from graphql_api.budgets.budgets import SubmitterBudget
from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.client_text import shorten
from graphql_api.error_entries import describe, describe_request_errors
from graphql_api.errors import PARSE_FAILED, VALIDATION_FAILED, TooComplex
from graphql_api.graphql_server.execution import document_validator, operation_limits
from graphql_api.graphql_server.execution.document_parser import parse
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest, VariableReader
from graphql_api.graphql_server.execution.operation_cost import OperationCost
from graphql_api.graphql_server.execution.plans import Plan, compile_plan
from graphql_api.graphql_server.execution.responses import GraphQLResponse, SelectionKey
from graphql_api.graphql_server.settings import GraphQLSettings
from runtime.shared_tasks import SharedTasks
from storage.documents.errors import BadRequest, DropzoneError

MIN_PACED_COST = 2
"""Operations with this cost or more start one by one. Otherwise, many of them would block the event loop together."""
_SEEN_DOCUMENTS = 8_192

_READING_COST = 250
"""Cost units of parsing and validating a document. A parsed document needs up to 2 MiB, so two are read at a time."""

_CHARACTERS_PER_UNIT = 100
"""Until its operation ends, a parsed document needs memory: 56 to 83 times that of its text, in two measurements."""


class InvalidOperation(Exception):
    """The request cannot be executed. Several requests can have the same error."""

    def __init__(self, describe: Callable[[], Sequence[dict[str, Any]]]) -> None:
        """Use the errors that `describe` returns. They contain the id of the request for which it is called."""
        super().__init__("the operation is not valid")
        self._describe = describe

    @property
    def response(self) -> GraphQLResponse:
        """The response to the current request, with the errors."""
        return GraphQLResponse(orjson.dumps({"errors": self._describe()}), is_executed=False)


class Operation(NamedTuple):
    """One operation of a valid document."""

    document: DocumentNode
    name: str | None
    type: OperationType
    variables: VariableReader
    plan: Plan | None
    cost: OperationCost

    depends_on_variables: bool
    """Whether the responses depend on variables. Variables in arguments of a root field do not count."""

    @property
    def is_long_query(self) -> bool:
        """Whether this is a query that can take long with some variables. It then ends when its client disconnects."""
        return self.type is OperationType.QUERY and self.cost.maximum >= MIN_PACED_COST

    def selection_key(self, request: GraphQLRequest) -> SelectionKey:
        """Return a key. Requests with the same key have the same response to the same event."""
        variables = request.variables if self.depends_on_variables else None
        return request.query, self.name, b"" if variables is None else sha256(variables).digest()

    def __str__(self) -> str:
        return f"{self.type.value} {self.name or 'without a name'}"


class _Document(NamedTuple):
    """The operations of a valid document, and its size in the cache."""

    size: int
    operations: Mapping[str | None, Operation]


class Operations:
    """The valid operations of one schema."""

    def __init__(self, schema: GraphQLSchema, settings: GraphQLSettings) -> None:
        self._schema = schema
        self._settings = settings
        # Each cached document counts with at least this size, which limits the number of documents.
        self._min_size = -(-settings.max_cached_length // settings.max_cached_documents)
        self._documents: LRUCache[str, _Document] = LRUCache(
            settings.max_cached_length, getsizeof=lambda document: document.size
        )
        self._readings = SharedTasks[tuple[str, str], Mapping[str | None, Operation]](end_without_callers=True)
        """The readings in progress, by the name of the submitter and the text of the document.

        Thousands of subscribers can connect at the same time, for example after a restart. If each read the document,
        the budget of the submitter would refuse most of them.
        """
        self._seen = array("q", bytes(8 * _SEEN_DOCUMENTS))
        """The hashes of the last valid documents. The value of a hash determines its place.

        A Python object for each hash would keep memory in use in which its document was read, up to one MiB.
        """

    def is_cached(self, request: GraphQLRequest) -> bool:
        """Return whether `find` does not have to read the document."""
        return request.query in self._documents

    def document_cost(self, request: GraphQLRequest) -> int:
        """Return the cost units of keeping the document of a request in memory. A cached document costs nothing."""
        return 0 if self.is_cached(request) else len(request.query) // _CHARACTERS_PER_UNIT

    async def find(self, request: GraphQLRequest, budget: SubmitterBudget) -> Operation:
        """Return the operation of a request. Raises `InvalidOperation`.

        Reading a document that is not in the cache takes up to 40 ms. It is divided into turns, and uses the budget of
        the submitter.
        """
        document = self._documents.get(request.query)
        operations = await self._read_once(request.query, budget) if document is None else document.operations
        name = request.operation_name
        if name is None and len(operations) == 1:
            return next(iter(operations.values()))
        if name is None:
            raise _invalid(BadRequest("the document has several operations; set `operationName` to one of their names"))
        if name not in operations:
            raise _invalid(BadRequest(f"the document has no operation named `{shorten(name, 60)}`"))
        return operations[name]

    async def _read_once(self, text: str, budget: SubmitterBudget) -> Mapping[str | None, Operation]:
        """Read a document. Requests that share the reading continue in turns, because there can be thousands."""
        try:
            operation_limits.check_text(text, self._settings)
        except TooComplex as error:
            raise _invalid(error) from None
        try:
            operations = await self._readings.run((budget.name, text), partial(self._read, text, budget))
        except InvalidOperation:
            await budget.wait_to_start()
            raise
        await budget.wait_to_start()
        return operations

    async def _read(self, text: str, budget: SubmitterBudget) -> Mapping[str | None, Operation]:
        cost, held = budget.cost(_READING_COST)
        async with cost.hold(held):
            return await self._read_in_steps(text, budget.turn())

    async def _read_in_steps(self, text: str, turn: LoopTurn) -> Mapping[str | None, Operation]:
        await turn.start()
        known = self._documents.get(text)
        if known is not None:  # meanwhile, another request has read the same document
            return known.operations
        document = self._parse(text)
        for check in document_validator.steps(self._schema, document, self._settings):
            await turn.start()
            try:
                problems = check()
            except TooComplex as error:
                raise _invalid(error) from None
            if problems:
                raise InvalidOperation(partial(describe_request_errors, problems, VALIDATION_FAILED))
        await turn.start()
        operations = await self._compile(document, turn)
        self._remember(text, operations)
        return operations

    def _parse(self, text: str) -> DocumentNode:
        try:
            document = parse(text, self._settings.max_tokens)
        except GraphQLError as error:
            raise InvalidOperation(partial(describe_request_errors, [error], PARSE_FAILED)) from None
        try:
            operation_limits.check(document, self._settings)
        except DropzoneError as error:
            raise _invalid(error) from None
        return document

    async def _compile(self, document: DocumentNode, turn: LoopTurn) -> Mapping[str | None, Operation]:
        """Return the operations of a valid document by name."""
        operations: dict[str | None, Operation] = {}
        fragments = [each for each in document.definitions if isinstance(each, FragmentDefinitionNode)]
        have_variables = _has_variables(*fragments)
        for definition in document.definitions:
            if not isinstance(definition, OperationDefinitionNode):
                continue
            await turn.pause()  # a document can have 300 operations
            name = definition.name.value if definition.name else None
            operations[name] = Operation(
                document,
                name,
                definition.operation,
                VariableReader(definition, self._settings),
                compile_plan(self._schema, definition),
                OperationCost(self._schema, document, definition),
                have_variables or _uses_variables_below_root(definition),
            )
        return operations

    def _remember(self, text: str, operations: Mapping[str | None, Operation]) -> None:
        """Cache the operations of a document that is sent for the second time."""
        # A long document probably contains values, so it is rarely sent again. It would evict many other documents.
        if len(text) <= self._settings.max_cached_length // 16:
            value = hash(text)
            if self._seen[value % _SEEN_DOCUMENTS] == value:
                self._documents[text] = _Document(max(len(text), self._min_size), operations)
            self._seen[value % _SEEN_DOCUMENTS] = value


def _invalid(error: DropzoneError) -> InvalidOperation:
    return InvalidOperation(lambda: [describe(error)])


def _uses_variables_below_root(operation: OperationDefinitionNode) -> bool:
    """Return whether an operation uses variables outside of its fragments and of the arguments of its root fields."""
    parts: list[Node | None] = []
    for selection in operation.selection_set.selections:
        if isinstance(selection, FieldNode):
            parts += (*(selection.directives or ()), selection.selection_set)
        else:
            parts.append(selection)
    return _has_variables(*(part for part in parts if part is not None))


def _has_variables(*nodes: Node) -> bool:
    """Return whether one of the nodes of a document contains a variable."""
    finder = _VariableFinder()
    for node in nodes:
        visit(node, finder)
    return finder.has_found


class _VariableFinder(Visitor):
    has_found = False

    def enter_variable(self, *_: object) -> VisitorAction:
        self.has_found = True
        return BREAK
