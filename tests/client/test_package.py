"""What is installed alone works alone."""

import ast
import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]


def test_the_package_needs_what_it_imports_and_nothing_else() -> None:
    """Here the server's packages are installed too, and would hide one that is missing."""
    imported = {
        module.partition(".")[0]
        for path in Path("client/dropzone").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for module in _imports(node)
    }
    declared = {re.split(r"[^\w-]", needed)[0] for needed in PROJECT["dependencies"]}

    assert imported - {"dropzone"} - sys.stdlib_module_names == declared


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
