"""Run a module of the product without its code for traces: `python -m tests.load.untraced -m MODULE ...`.

Every `tracing.is_on` in the source becomes False, and the compiler leaves out all code that depends on it. This is the
baseline for what traces cost while they are off.
"""

import ast
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

_PACKAGES = frozenset({"graphql_api", "infra", "observability", "runtime", "storage", "triggers"})


class Loader(SourceFileLoader):
    """Loads a module from its source. It neither reads nor writes compiled files."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module without its code for traces."""
        path = self.get_filename(fullname)
        tree = _Untraced().visit(ast.parse(self.get_data(path), path))
        return compile(tree, path, "exec", dont_inherit=True)


class _Untraced(ast.NodeTransformer):
    def visit_Attribute(self, node: ast.Attribute) -> Any:
        if isinstance(node.value, ast.Name) and (node.value.id, node.attr) == ("tracing", "is_on"):
            return ast.copy_location(ast.Constant(False), node)
        return self.generic_visit(node)


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in _PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


if __name__ == "__main__":
    sys.meta_path.insert(0, _Finder)
    _, _, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
