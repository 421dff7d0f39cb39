"""A subpackage is imported without its parent package."""

import importlib
import sys
from pathlib import Path

import pytest

from runtime.subpackages import import_without_parent


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package with the subpackage `light`. Tests that import it forget it afterwards."""
    folder = tmp_path / "outer_of_test" / "heavy"
    (folder / "light").mkdir(parents=True)
    (folder / "__init__.py").write_text("IS_REAL = True\n")
    (folder / "light" / "__init__.py").write_text("from outer_of_test.heavy.light.values import VALUE\n")
    (folder / "light" / "values.py").write_text("VALUE = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    names = ["outer_of_test", "outer_of_test.heavy", "outer_of_test.heavy.light", "outer_of_test.heavy.light.values"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, sys)  # so that monkeypatch removes what the test imports
        del sys.modules[name]
    return "outer_of_test.heavy"


def test_the_parent_is_not_imported(parent: str) -> None:
    """Its import takes long. The subpackage can import its own modules by their full names."""
    light = import_without_parent(parent, "light")

    assert light.VALUE is importlib.import_module(f"{parent}.light.values").VALUE
    assert parent not in sys.modules


def test_a_later_import_gets_the_real_parent_with_the_same_subpackage(parent: str) -> None:
    """Other libraries of the process can use the parent."""
    light = import_without_parent(parent, "light")

    real = importlib.import_module(parent)

    assert real.IS_REAL
    assert importlib.import_module(f"{parent}.light") is light


def test_a_parent_that_is_imported_stays(parent: str) -> None:
    """Its subpackage is used as it is."""
    real = importlib.import_module(parent)

    light = import_without_parent(parent, "light")

    assert sys.modules[parent] is real
    assert light is importlib.import_module(f"{parent}.light")
