"""A Firestore server whose thread for calls has stopped."""

from collections.abc import Iterable
from pathlib import Path

import grpc
import pytest
from google.api_core.exceptions import GoogleAPICallError

from infra.embedded.firestore.api.rpc import BearerToken
from tests.infra.firestore.server_process import FirestoreProcess


class ExhaustedToken(BearerToken):
    """A token whose check lacks memory. The thread for calls makes this check."""

    def is_in(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Raise MemoryError."""
        raise MemoryError


def test_the_process_ends_if_it_cannot_receive_calls_any_more(own: FirestoreProcess, tmp_path: Path) -> None:
    """The supervisor then starts it again. It would otherwise notice only that the process hangs, after 30 s."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from infra.embedded.firestore import __main__ as server\n"
        "from tests.infra.firestore.api.test_ended_calls import ExhaustedToken\n"
        "server.read_token = lambda: ExhaustedToken('token')\n"
        "sys.exit(server.main())\n"
    )
    own.program = ("-c", f"import runpy, sys; sys.path.insert(0, '.'); runpy.run_path({str(program)!r})")
    own.start()

    with pytest.raises((GoogleAPICallError, grpc.RpcError)):
        own.client().document("a/1").get(retry=None, timeout=60)

    assert own.wait() == 1
    last_line = own.log.read_text().splitlines()[-1]
    assert "the server cannot receive calls any more: MemoryError()" in last_line
