"""A start on the data of an earlier release: everything that it acknowledged is there, and its open work is done."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.stack import Stack

COMPUTED, PENDING = "b6209025-aece-4849-96f7-0d404261ef45", "db124ecc-aece-49d2-8af5-c410f691faae"
LARGE, REJECTED = "5a3a249e-2619-4bbc-adf8-c6e28b98ef5e", "935ef190-5298-42b2-a1a6-0bf74c7ecf25"
RAW = {
    COMPUTED: b'{"time_stamp": "2019-05-01T06:00:00-04:00", "data": [1, 2.5, 4e0]}\n',
    LARGE: b'{"time_stamp": "2019-05-01T10:00:00Z", "data": [0' + 150_000 * b",0" + b"]}",  # stored in chunks
    REJECTED: b'{"time_stamp": "never", "data": [true]}',
    PENDING: b'{"time_stamp": "2019-05-01T11:00:00Z", "data": [7]}',
}


def dump(path: Path) -> str:
    """Return the content of a data file as SQL."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump())


def test_everything_that_an_earlier_release_acknowledged_is_there(tmp_path: Path) -> None:
    """Verified by digest. The event that it had not delivered is delivered. A copy of its data is kept."""
    stack = Stack(tmp_path)
    stack.data_file.parent.mkdir()
    with contextlib.closing(sqlite3.connect(stack.data_file)) as connection:
        connection.executescript(Path(__file__).with_name("earlier_release.sql").read_text())
    before = dump(stack.data_file)

    with stack:
        results = {sample_id: stack.wait_for(sample_id)["result"] for sample_id in (COMPUTED, LARGE, PENDING)}
        stored = {sample_id: stack.get(f"/samples/{sample_id}").content for sample_id in RAW}
        rejected = stack.sample(REJECTED)
        verified = subprocess.run(
            [sys.executable, "-m", "triggers.verify", "--recompute-every", "1"],
            env=stack.environment | stack.firestore_environment,
            check=False,
            capture_output=True,
            text=True,
        )

    assert stored == RAW
    assert [results[sample_id]["mean"] for sample_id in (COMPUTED, LARGE, PENDING)] == [2.5, 0, 7]
    assert (rejected["state"], len(rejected["problems"])) == ("REJECTED", 2)
    assert (verified.returncode, verified.stdout) == (0, ""), verified.stderr
    assert verified.stderr.startswith("4 samples, 0 of them without a result yet; 3 results")
    assert dump(stack.data_file.with_name("firestore.format-1.sqlite")) == before
