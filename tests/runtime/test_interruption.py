"""What Ctrl-C does to a command. `tests/infra/firestore/writes/test_document_import.py` interrupts a whole command."""

import os
import signal
import threading

import pytest

from runtime import interruption


def test_ctrl_c_ends_a_block_that_does_not_await(capsys: pytest.CaptureFixture[str]) -> None:
    """The handler of SIGINT is afterwards the one from before."""
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(SystemExit) as ended, interruption.ends_command():
        os.kill(os.getpid(), signal.SIGINT)

    assert ended.value.code == interruption.EXIT_CODE
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_command_can_run_in_a_thread() -> None:
    """Python lets only the main thread set a handler."""
    results = []

    def run() -> None:
        with interruption.ends_command():
            results.append("done")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert results == ["done"]
