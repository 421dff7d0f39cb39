"""Every root field of the schema and every HTTP endpoint is usable only with the scope that it declares."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import combinations
from types import SimpleNamespace

import httpx
import pytest
import strawberry
from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputType,
    OperationType,
    get_named_type,
    is_composite_type,
    is_enum_type,
    is_list_type,
    is_non_null_type,
)
from starlette.routing import Mount, Route, WebSocketRoute

from graphql_api.app import create_app
from graphql_api.auth.api_keys import ApiKey, new_key
from graphql_api.auth.caller import Caller
from graphql_api.auth.secret_text import digest
from graphql_api.configuration.settings import Settings
from graphql_api.credential_errors import MissingScope
from graphql_api.endpoints.endpoint import Endpoint
from graphql_api.schema.executable_schema import executable_schema
from graphql_api.schema.required_scopes import enforce, required_scope, requires
from graphql_api.scopes import Scope
from storage.documents import document_paths
from tests.stack import Stack

UNKNOWN_ID = "5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90"
LITERALS = {
    "Boolean": "false",
    "ID": f'"{UNKNOWN_ID}"',
    "Int": "1",
    "RawSample": '{time_stamp: "2019-05-01T06:00:00Z", data: [1]}',
    "String": '"not a cursor"',  # ends a subscription to results with BAD_REQUEST, so that no test waits for one
}
OF_FIELDS = (Scope.SUBMIT, Scope.READ, Scope.ADMIN)
SCOPE_SETS = [
    *(frozenset(scopes) for size in range(len(OF_FIELDS) + 1) for scopes in combinations(OF_FIELDS, size)),
    frozenset({Scope.READ_ALL}),
    frozenset(Scope),
]

ROOT_FIELDS: Mapping[tuple[OperationType, str], GraphQLField] = {
    (operation, name): field
    for operation in OperationType
    if (root := executable_schema().get_root_type(operation)) is not None
    for name, field in root.fields.items()
}
ENDPOINTS: list[Endpoint] = create_app(Settings()).state.endpoints


@pytest.fixture(scope="module")
def keys(stack: Stack) -> Mapping[frozenset[Scope], str]:
    """A key with each set of scopes, the empty set included."""
    keys = {scopes: new_key() for scopes in SCOPE_SETS}
    for scopes, key in keys.items():
        stored = ApiKey("all-scopes", scopes, "", datetime.now(UTC))
        stack.firestore().document(document_paths.api_key(digest(key))).set(stored.fields())
    return keys


def document_of(operation: OperationType, name: str, field: GraphQLField) -> str:
    """Return an operation that requests one root field with all arguments that are required or strings."""
    arguments = ", ".join(
        f"{argument_name}: {_literal(argument.type)}"
        for argument_name, argument in field.args.items()
        if _is_filled_in(argument)
    )
    selection = "{ __typename }" if is_composite_type(get_named_type(field.type)) else ""
    return f"{operation.value} {{ {name}{f'({arguments})' if arguments else ''} {selection} }}"


def _is_filled_in(argument: GraphQLArgument) -> bool:
    return is_non_null_type(argument.type) or get_named_type(argument.type).name == "String"


def _literal(kind: GraphQLInputType) -> str:
    if is_non_null_type(kind):
        return _literal(kind.of_type)
    if is_list_type(kind):
        return f"[{_literal(kind.of_type)}]"
    if is_enum_type(kind):
        return str(next(iter(kind.values)))
    return LITERALS[get_named_type(kind).name]


def error_codes(response: httpx.Response) -> Iterator[str]:
    """Yield the code of each GraphQL error in a JSON response or in the events of a stream."""
    if response.headers["content-type"].startswith("application/json"):
        payloads = [response.json()]
    else:
        events = (line.removeprefix("data:").strip() for line in response.text.splitlines() if line.startswith("data:"))
        payloads = [httpx.Response(200, text=event).json() for event in events if event]
    for payload in payloads:
        yield from (error["extensions"]["code"] for error in payload.get("errors", []))


@pytest.mark.parametrize(("operation", "name"), ROOT_FIELDS, ids=lambda part: getattr(part, "value", part))
def test_a_root_field_requires_the_scope_that_it_declares(
    stack: Stack, keys: Mapping[frozenset[Scope], str], operation: OperationType, name: str
) -> None:
    """A key without the scope gets FORBIDDEN, a key with it does not, whichever other scopes either has."""
    field = ROOT_FIELDS[operation, name]
    scope = required_scope(field)
    accept = "text/event-stream" if operation is OperationType.SUBSCRIPTION else "application/json"
    body = {"query": document_of(operation, name, field)}

    forbidden = set()
    with httpx.Client(base_url=stack.url, headers={"accept": accept}, timeout=30) as client:
        for scopes, key in keys.items():
            codes = list(error_codes(client.post("/graphql", json=body, headers={"x-api-key": key})))
            assert "FORBIDDEN" not in codes or codes == ["FORBIDDEN"]
            if codes == ["FORBIDDEN"]:
                forbidden.add(scopes)

    assert scope is not None
    assert forbidden == {scopes for scopes in SCOPE_SETS if scope not in scopes}


def test_no_query_takes_a_scope_that_writes_and_no_mutation_one_that_only_reads() -> None:
    """`submit` opens nothing that was stored, and `read` changes nothing."""
    scopes = {
        operation: {required_scope(field) for (of, _), field in ROOT_FIELDS.items() if of is operation}
        for operation in OperationType
    }

    assert scopes == {
        OperationType.QUERY: {Scope.READ, Scope.ADMIN},
        OperationType.MUTATION: {Scope.SUBMIT, Scope.ADMIN},
        OperationType.SUBSCRIPTION: {Scope.READ, Scope.ADMIN},
    }


def test_a_schema_whose_root_field_declares_no_scope_is_not_built() -> None:
    """The field is named, so that its author knows what to add."""

    @strawberry.type
    class Query:
        @strawberry.field(metadata=requires(Scope.READ))  # type: ignore[untyped-decorator]
        def declared(self) -> int:
            return 1

        @strawberry.field
        def undeclared(self) -> int:
            return 2

    with pytest.raises(TypeError, match=r"Query\.undeclared declares no scope"):
        enforce(strawberry.Schema(Query)._schema)


async def test_a_field_below_a_root_field_can_require_another_scope() -> None:
    """The scope of the root field alone does not open it."""

    @strawberry.type
    class Node:
        @strawberry.field(metadata=requires(Scope.ADMIN))  # type: ignore[untyped-decorator]
        def guarded(self) -> int:
            return 1

    @strawberry.type
    class Query:
        @strawberry.field(metadata=requires(Scope.READ))  # type: ignore[untyped-decorator]
        def node(self) -> Node:
            return Node()

    schema = strawberry.Schema(Query)
    enforce(schema._schema)

    errors = []
    for scopes in ({Scope.READ}, {Scope.READ, Scope.ADMIN}):
        context = SimpleNamespace(caller=Caller("one", frozenset(scopes)))
        result = await schema.execute("{ node { guarded } }", context_value=context)
        errors.append([type(error.original_error) for error in result.errors or []])

    assert errors == [[MissingScope], []]


def test_every_route_declares_a_scope_or_that_it_is_public() -> None:
    """The application has no route that is not an endpoint."""
    app = create_app(Settings())

    assert app.routes == [endpoint.route for endpoint in app.state.endpoints]


def _name(endpoint: Endpoint) -> str:
    """Return the methods and the path of a route, the same in each test process."""
    methods = sorted(getattr(endpoint.route, "methods", None) or ())
    return " ".join([*methods, getattr(endpoint.route, "path", "")])


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.scope], ids=_name)
def test_an_endpoint_requires_the_scope_that_it_declares(
    stack: Stack, keys: Mapping[frozenset[Scope], str], endpoint: Endpoint
) -> None:
    """It responds with 401 without a key, with 403 without the scope, and otherwise with neither."""
    assert isinstance(endpoint.route, Route)
    url = stack.url + endpoint.route.path_format.replace("{id}", UNKNOWN_ID)
    without_scope = {scopes for scopes in SCOPE_SETS if endpoint.scope not in scopes}

    for method in endpoint.route.methods or ():
        anonymous = httpx.request(method, url)
        statuses = {
            scopes: httpx.request(method, url, headers={"x-api-key": key}).status_code for scopes, key in keys.items()
        }

        assert anonymous.status_code == 401
        assert 401 not in statuses.values()
        assert {scopes for scopes, status in statuses.items() if status == 403} == without_scope


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if not each.scope], ids=_name)
def test_a_public_endpoint_needs_no_key(stack: Stack, endpoint: Endpoint) -> None:
    """`/graphql` shows its page; an operation needs a key."""
    route = endpoint.route
    assert isinstance(route, Route | Mount | WebSocketRoute)

    response = httpx.get(stack.url + route.path, headers={"accept": "text/html"}, follow_redirects=True)

    assert response.status_code not in (401, 403)
