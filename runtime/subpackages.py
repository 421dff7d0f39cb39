"""Imports a subpackage without its parent package, whose import takes long.

Importing `google.cloud.firestore_v1` imports the whole client, which takes half a second of CPU time in every process.
The messages are in its subpackage `types`, which needs nothing else of the client.
"""

import importlib
import sys
from types import ModuleType


def import_without_parent(parent: str, name: str) -> ModuleType:
    """Return the subpackage `name` of the package `parent`, which is part of another package.

    If the parent is not imported yet, an empty package replaces it during the import. A later import of the parent gets
    the real package, with the same subpackage.
    """
    subpackage = f"{parent}.{name}"
    if parent in sys.modules:
        return importlib.import_module(subpackage)
    outer, _, folder = parent.rpartition(".")
    locations = importlib.import_module(outer).__path__
    sys.modules[parent] = empty = ModuleType(parent)
    empty.__path__ = [f"{location}/{folder}" for location in locations]
    try:
        return importlib.import_module(subpackage)
    finally:
        del sys.modules[parent]
