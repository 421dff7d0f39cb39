"""The processes of the stack use jemalloc only if it is installed, if it works, and if the operator has set nothing."""

import sys

import pytest

from infra.embedded import jemalloc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux loads a library on request")


def install(monkeypatch: pytest.MonkeyPatch, library: str | None) -> None:
    """Let a library be the installed one. The C library is on each machine, and Python starts with it."""
    monkeypatch.setattr(jemalloc, "find_library", lambda name: library)


def test_an_installed_library_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python itself uses it too."""
    install(monkeypatch, "libc.so.6")

    variables = jemalloc.environment_variables({})

    assert (variables["LD_PRELOAD"], variables["PYTHONMALLOC"]) == ("libc.so.6", "malloc")


def test_nothing_is_set_if_the_library_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PYTHONMALLOC` alone would slow Python down."""
    install(monkeypatch, None)

    assert jemalloc.environment_variables({}) == {}


@pytest.mark.parametrize("variable", jemalloc.VARIABLES)
def test_settings_of_the_operator_have_priority(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if only one of the variables is set."""
    install(monkeypatch, "libc.so.6")

    assert jemalloc.environment_variables({variable: "default"}) == {}


def test_a_library_that_does_not_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example because it is built for another page size. The message is that of the loader or of the library."""
    install(monkeypatch, "libmissing.so.2")

    with pytest.raises(OSError, match="libmissing"):
        jemalloc.environment_variables({})
