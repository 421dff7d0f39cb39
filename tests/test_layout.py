"""Folders import each other in one direction only. DESIGN of the arrows: docs/architecture.md."""

import ast
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests import conftest

STORAGE = ("storage/documents", "storage/firestore", "storage/rollups", "storage/hourly_archive")
PACKAGES: Mapping[str, set[str]] = {
    "observability": set(),
    "runtime": set(),
    "storage/documents": set(),
    "storage/firestore": {"observability", "runtime", "storage/documents"},
    "storage/rollups": {"storage/documents", "storage/firestore"},
    "storage/hourly_archive": {"storage/documents", "storage/firestore", "storage/rollups"},
    "graphql_api": {"observability", "runtime", *STORAGE},
    "triggers": {"observability", "runtime", *STORAGE},
    "client/dropzone": set(),
    "infra/embedded": {"observability", "runtime"},
    "infra/check": set(),
    "infra/prometheus": set(),
    "infra/smoke": {"client/dropzone", "runtime"},
}
"""Each package, and those of ours that it may import."""

API = "graphql_api"
API_ROOMS: Mapping[str, set[str]] = {
    "": set(),  # errors, error_entries, credential_errors, scopes, client_text, metrics; WIRING lists app and __main__
    "configuration": {""},
    "budgets": {"", "configuration"},
    "graphql_server": {"", "budgets", "configuration"},
    "auth": {"", "budgets", "configuration", "graphql_server"},
    "ingest": {"", "budgets", "graphql_server"},
    "results": {"", "budgets"},
    "live": {"", "budgets", "results"},
    "schema": {"", "auth", "budgets", "configuration", "graphql_server", "ingest", "live", "results"},
    "endpoints": {"", "auth", "budgets", "configuration", "graphql_server", "ingest", "results"},
    "erasure": {"", "auth"},
    "web": {"", "graphql_server"},
}
FIRESTORE = "infra/embedded/firestore"
FIRESTORE_ROOMS: Mapping[str, set[str]] = {
    "": set(),  # errors, messages, metrics, parameter_lists; __main__ and archive are listed below
    "encoding": {""},
    "indexes": {"", "encoding"},
    "data_file": {"", "encoding", "indexes"},
    "storage": {"", "data_file", "encoding", "indexes"},
    "queries": {"", "encoding", "indexes", "storage"},
    "writes": {"", "encoding", "indexes", "queries", "storage"},
    "listen": {"", "encoding", "queries", "storage"},
    "transport": {""},
    "api": {"", "data_file", "encoding", "indexes", "listen", "queries", "storage", "transport", "writes"},
}
WIRING = {
    "graphql_api/app.py",
    "graphql_api/__main__.py",
    "infra/embedded/firestore/__main__.py",
    "infra/embedded/firestore/archive.py",
}
"""Composition roots and commands: they may import every room of their package."""

CONNECTIONS = {"asyncio", "grpc", "http", "httpx", "requests", "socket", "aiohttp", "urllib"}
GRAPHQL = {"graphql", "strawberry"}
MAX_MODULES = 14
MAX_LINES = 300


def modules(folder: str) -> Iterator[Path]:
    """Yield every Python file below `folder`, without installed packages, which are thousands of files."""
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("node_modules", ".venv")]
        yield from (Path(path) / name for name in names if name.endswith(".py"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return the import statements and the constants of a file. Several tests look at the same file."""
    tree = ast.walk(ast.parse(path.read_text()))
    return tuple(node for node in tree if isinstance(node, ast.Import | ast.ImportFrom | ast.Constant))


def imports(folder: str) -> Iterator[tuple[Path, str]]:
    """Yield every module, as a path without suffix, that a file below `folder` imports."""
    for path in modules(folder):
        for node in nodes(path):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name.replace(".", "/")) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} has a relative import"
                module = (node.module or "").replace(".", "/")
                yield path, module
                yield from ((path, f"{module}/{alias.name}") for alias in node.names)


def package_of(module: str) -> str | None:
    """Return the package of ours that a module is in, if it is in one."""
    folder = f"client/{module}" if module.partition("/")[0] == "dropzone" else module
    return next((package for package in PACKAGES if f"{folder}/".startswith(f"{package}/")), None)


def room_of(module: str, package: str) -> str:
    """Return the first folder below `package` that holds a module; empty for a module of the package itself."""
    first = module.removeprefix(package).strip("/").partition("/")[0]
    return first if (Path(package) / first).is_dir() else ""


def foreign(package: str, rooms: Mapping[str, set[str]]) -> list[str]:
    """Return the imports between the rooms of `package` that no arrow allows."""
    return [
        f"{path} imports {module}"
        for path, module in imports(package)
        if str(path) not in WIRING
        and module.startswith(f"{package}/")
        and (source := room_of(str(path.parent), package)) != (target := room_of(module, package))
        and target not in rooms[source]
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_it_may(package: str) -> None:
    """The API and the functions share storage; the client and infra import none of the others."""
    wrong = [
        f"{path} imports {module}"
        for path, module in imports(package)
        if (target := package_of(module)) not in (None, package) and target not in PACKAGES[package]
    ]

    assert wrong == []


@pytest.mark.parametrize(("package", "rooms"), [(API, API_ROOMS), (FIRESTORE, FIRESTORE_ROOMS)])
def test_rooms_import_each_other_in_one_direction(package: str, rooms: Mapping[str, set[str]]) -> None:
    """Every arrow is listed above, so a new one is a decision and not an accident."""
    assert foreign(package, rooms) == []


@pytest.mark.parametrize(("package", "rooms"), [(API, API_ROOMS), (FIRESTORE, FIRESTORE_ROOMS)])
def test_the_listed_arrows_cover_every_room_and_form_no_circle(package: str, rooms: Mapping[str, set[str]]) -> None:
    """A room is listed after all rooms that it imports."""
    folders = {path.name for path in Path(package).iterdir() if (path / "__init__.py").is_file()}
    listed: set[str] = set()
    for room, targets in rooms.items():
        assert targets <= listed, f"{room} imports rooms that are listed later"
        listed.add(room)

    assert listed - {""} == folders


def documented(heading: str) -> dict[str, set[str]]:
    """Return the imports of each folder by the table below `heading` in docs/architecture.md."""
    table = Path("docs/architecture.md").read_text().partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    found: dict[str, set[str]] = {}
    for name, may_import in re.findall(r"^\| `([a-z_/]+)/` \|.* \|(.*)\|$", table, re.MULTILINE):
        names = set(found) if "all parts" in may_import else set(re.findall("`(.+?)`", may_import))
        found[name] = names - {"storage"} | set(STORAGE) if "storage" in names and heading == "folder" else names
    return found


@pytest.mark.parametrize(
    ("heading", "rules"),
    [
        ("folder", PACKAGES),
        ("part of `graphql_api`", API_ROOMS),
        ("part of `infra/embedded/firestore`", FIRESTORE_ROOMS),
    ],
)
def test_the_documented_imports_are_those_that_are_allowed(heading: str, rules: Mapping[str, set[str]]) -> None:
    """The tables of docs/architecture.md list each folder with the folders that it may import."""
    assert {name: found for name, found in documented(heading).items() if name in rules} == {
        name: allowed - {""} for name, allowed in rules.items() if name
    }


def test_stored_documents_are_pure() -> None:
    """They open no connection, and pull neither the web into a function nor numpy into the API."""
    impure = [
        f"{path} imports {module}"
        for path, module in imports("storage/documents")
        if module.partition("/")[0]
        in CONNECTIONS | GRAPHQL | {"numpy", "starlette", "functions_framework", "prometheus_client"}
    ]

    assert impure == []


def test_the_api_and_the_functions_need_only_their_own_libraries() -> None:
    """The API runs without numpy and functions-framework, the functions without GraphQL."""
    wrong = [path for path, module in imports(API) if module.partition("/")[0] in {"numpy", "functions_framework"}]
    wrong += [path for path, module in imports("triggers") if module.partition("/")[0] in GRAPHQL]

    assert wrong == []


def test_firestore_does_not_import_event_delivery() -> None:
    """Only the command that runs both does."""
    arrows = [
        path
        for path, module in imports(FIRESTORE)
        if module.startswith("infra/embedded/eventarc") and path.name != "__main__.py"
    ]

    assert arrows == []


def test_collection_names_are_spelled_in_one_place() -> None:
    """`storage/documents/document_paths.py` has them; only the patterns of triggers repeat them."""
    spelled = [
        path
        for folder in ("storage", "graphql_api", "triggers")
        for path in modules(folder)
        if path.name != "document_paths.py"
        for node in nodes(path)
        if isinstance(node, ast.Constant) and node.value in {"submitters", "samples", "results", "api_keys"}
    ]

    assert spelled == []


def test_a_folder_has_at_most_about_a_dozen_modules() -> None:
    """A folder with more is missing a room."""
    sizes = Counter(path.parent for package in PACKAGES for path in set(modules(package)))
    crowded = {str(folder): size for folder, size in sizes.items() if size > MAX_MODULES}

    assert crowded == {}


def test_a_file_has_at_most_300_lines() -> None:
    """A longer one defines more than one concept."""
    lengths = {str(path): path.read_text().count("\n") for folder in (*PACKAGES, "tests") for path in modules(folder)}

    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_the_files_in_the_life_of_a_sample_exist() -> None:
    """The table in docs/architecture.md lists each file once, and the text below it counts them."""
    section = Path("docs/architecture.md").read_text().partition("## The life of a sample")[2]
    steps = re.findall(r"^\| \d+\. .* \| (.*) \|$", section, re.MULTILINE)
    files = [file for step in steps for file in re.findall(r"`([^`]*)`", step)]
    to_firestore = sum(step.count("`") // 2 for step in steps[:5])

    assert len(files) == len(set(files))
    assert [file for file in files if not Path(file).is_file()] == []
    assert f"Steps 1 to 5 use {to_firestore} files. All {len(steps)} steps use {len(files)}." in section


def test_the_listed_slow_tests_exist() -> None:
    """A test that was moved would run as a fast one, or would not be part of `make system`."""
    assert [path for path in (*conftest.SYSTEM, *conftest.SLOW) if not Path(path).exists()] == []


def test_no_two_modules_of_tests_use_the_same_submitter() -> None:
    """Modules share a stack. A test that counts what its submitter has would find that of another module."""
    modules: dict[str, set[str]] = {}
    for path in Path("tests").rglob("*.py"):
        for submitter in re.findall(r'new_key\(\s*"([^"]+)"', path.read_text()):
            modules.setdefault(submitter, set()).add(str(path))

    assert {submitter: found for submitter, found in modules.items() if len(found) > 1} == {}
