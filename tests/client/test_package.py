"""The package works when it is installed alone."""

import ast
import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]


def test_declared_dependencies_equal_the_imports() -> None:
    """The packages of the server are installed here too, so no other test detects a missing declaration."""
    imported = {
        module.partition(".")[0]
        for path in Path("client/dropzone").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for module in _imports(node)
    }
    requirements = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["arrow"]
    declared = {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}

    assert imported - {"dropzone"} - sys.stdlib_module_names == declared


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
