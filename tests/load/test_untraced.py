"""The baseline of the group `traces` runs the same code without what traces need."""

from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

import pytest

from tests.load.untraced import Loader

TRACED = ("storage/firestore/writes/group_commit_writer.py", "graphql_api/endpoints/middleware/request_recorder.py")


def names(code: CodeType) -> Iterator[str]:
    """Yield all names that the code and its functions use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names(constant)


@pytest.mark.parametrize("file", TRACED)
def test_code_for_traces_is_left_out(file: str) -> None:
    """The check itself too."""
    name = Path(file).stem
    usual = SourceFileLoader(name, file).get_code(name)
    assert isinstance(usual, CodeType)

    untraced = Loader(name, file).get_code(name)

    assert "is_on" in set(names(usual))
    assert "is_on" not in set(names(untraced))
    assert len(list(names(untraced))) < len(list(names(usual)))
