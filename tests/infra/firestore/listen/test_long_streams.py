"""Listen streams that stay open for long: heartbeats, and clients that read slowly."""

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.infra.firestore.listen.listen_calls import Stream, query, write
from tests.infra.firestore.server_process import FirestoreProcess

FREQUENT_HEARTBEATS = """
from infra.embedded.firestore import __main__
from infra.embedded.firestore.listen import stream
stream.HEARTBEAT_SECONDS = 0.2
raise SystemExit(__main__.main())
"""


def test_heartbeats_continue_while_other_documents_change(own: FirestoreProcess) -> None:
    """Clients open another stream if they receive no response for two minutes."""
    own.program = ("-c", FREQUENT_HEARTBEATS)
    own.start()
    stream = Stream(own, query("beats", minimum=3))
    stream.snapshot()
    has_ended = threading.Event()

    def write_others() -> None:
        while not has_ended.is_set():
            write(own, beats__a=1)
            write(own, beats__a=2)

    with ThreadPoolExecutor(1) as executor:
        writing = executor.submit(write_others)
        try:
            heartbeats = [stream.snapshot() for _ in range(3)]
        finally:
            has_ended.set()
        writing.result()

    assert heartbeats == [[], [], []]
    stream.close()


def test_a_slow_client_receives_every_commit_as_a_whole(own: FirestoreProcess) -> None:
    """The stream drops changes that it cannot hold in memory, and reads them from the file in several pages."""
    own.start()
    stream = Stream(own, query("slow"))
    stream.snapshot()
    client = own.client()
    for commit in range(6):
        batch = client.batch()
        for number in range(9):
            batch.set(client.document(f"slow/{commit}{number}"), {"n": commit, "bytes": bytes(1_000_000)})
        batch.commit()

    snapshots = [stream.snapshot() for _ in range(6)]

    assert snapshots == [[f"+{commit}{number}" for number in range(9)] for commit in range(6)]
    write(own, slow__last=1)
    assert stream.snapshot() == ["+last"]
    stream.close()
