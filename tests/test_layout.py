"""The arrows between the packages go one way; nothing here is decided by taste."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ARROWS = {
    "documents": set(),
    "graphql_api": {"documents"},
    "triggers": {"documents"},
    "infra": set(),
    "dropzone": set(),
}
OPENS_CONNECTIONS = {"asyncio", "grpc", "http", "httpx", "requests", "socket", "aiohttp", "urllib"}
GRAPHQL = {"graphql", "strawberry"}
FOLDERS = [*ARROWS, "tests"]


def modules(folder: str) -> Iterator[tuple[Path, str]]:
    """Yield every module that a file below `folder` imports."""
    for path in Path(folder).rglob("*.py"):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} has a relative import"
                yield path, node.module or ""
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("package", ARROWS)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    """The API and the functions meet in `documents` alone; infra knows none of the three."""
    foreign = [
        f"{path} imports {module}"
        for path, module in modules(package)
        if (top := module.partition(".")[0]) in FOLDERS and top != package and top not in ARROWS[package]
    ]

    assert foreign == []


def test_what_is_stored_is_pure() -> None:
    """`documents` opens no connection, and pulls neither the web into a function nor numpy into the API."""
    impure = [
        f"{path} imports {module}"
        for path, module in modules("documents")
        if module.partition(".")[0] in OPENS_CONNECTIONS | GRAPHQL | {"numpy", "starlette", "functions_framework"}
    ]

    assert impure == []


def test_the_api_is_deployed_without_what_only_functions_need() -> None:
    """And the functions without GraphQL."""
    assert [
        p for p, module in modules("graphql_api") if module.partition(".")[0] in {"numpy", "functions_framework"}
    ] == []
    assert [p for p, module in modules("triggers") if module.partition(".")[0] in GRAPHQL] == []


def test_firestore_never_imports_the_delivery_of_its_events() -> None:
    """Only the process that is made of both does."""
    arrows = [
        path
        for path, module in modules("infra/embedded/firestore")
        if module.startswith("infra.embedded.eventarc") and path.name != "__main__.py"
    ]

    assert arrows == []


def test_the_transport_does_not_know_what_is_asked() -> None:
    """It carries any schema: of the API it knows the errors alone."""
    arrows = {
        module
        for _, module in modules("graphql_api/transport")
        if module.startswith("graphql_api.") and not module.startswith(("graphql_api.transport", "graphql_api.errors"))
    }

    assert arrows == set()


def test_every_path_of_firestore_is_spelled_in_one_place() -> None:
    """`storage/documents/document_paths.py`, and the patterns that triggers are registered with."""
    spelled = [
        path
        for folder in ("documents", "graphql_api", "triggers")
        for path in Path(folder).glob("*.py")
        if path.name != "names.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in {"submitters", "samples", "results", "api_keys"}
    ]

    assert spelled == []
