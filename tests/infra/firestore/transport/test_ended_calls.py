"""A Firestore server whose thread for calls has stopped."""

import threading
from collections.abc import Iterable
from pathlib import Path

import grpc
import pytest
from google.api_core.exceptions import GoogleAPICallError

from infra.embedded.firestore.transport.grpc_server import GrpcServer
from infra.embedded.firestore.transport.rpc import BearerToken, CallsEnded
from tests.infra.firestore.server_process import FirestoreProcess
from tests.stack import PATIENCE_SECONDS


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
        "from tests.infra.firestore.transport.test_ended_calls import ExhaustedToken\n"
        "server.read_token = lambda: ExhaustedToken('token')\n"
        "sys.exit(server.main())\n"
    )
    own.program = ("-c", f"import runpy, sys; sys.path.insert(0, '.'); runpy.run_path({str(program)!r})")
    own.start()

    with pytest.raises((GoogleAPICallError, grpc.RpcError)):
        own.client().document("a/1").get(retry=None, timeout=60)

    assert own.wait() == 1
    log = own.log.read_text()
    assert "the server cannot receive calls any more: MemoryError()" in log
    assert "CallsEnded" not in log  # the trace of the thread can be the last line, but no other trace is printed


@pytest.mark.timeout(300, method="thread")  # a signal does not end the wait in the core
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_server_stops_if_its_thread_has_just_ended() -> None:
    """The event loop is busy, and learns of the end only after it has started to stop the server."""
    server = GrpcServer({}, (), ExhaustedToken("token"))
    port = server.listen("127.0.0.1:0")
    await server.start()
    [thread] = [each for each in threading.enumerate() if each.name == "firestore-calls"]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/service/method").future(b"", timeout=PATIENCE_SECONDS, wait_for_ready=True)
        thread.join(PATIENCE_SECONDS)
        assert not server.failed.done()

        await server.stop(grace_seconds=0)
        call.cancel()

    assert isinstance(server.failed.exception(), CallsEnded)
