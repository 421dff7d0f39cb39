"""Fixtures for tests of damaged data files: folders of servers that ended, which tests copy."""

import signal
from pathlib import Path

import pytest

from tests.infra.firestore.data_file.data_files import archive, use, write
from tests.infra.firestore.server_process import FirestoreProcess


@pytest.fixture(scope="session")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that wrote 60 documents and was stopped."""
    firestore = FirestoreProcess(tmp_path_factory.mktemp("ended"))
    firestore.start()
    write(firestore, 0)
    firestore.end()
    firestore.close()
    return firestore.data.parent


@pytest.fixture(scope="session")
def killed_at_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that wrote 60 documents and was killed. They are in the log only."""
    firestore = FirestoreProcess(tmp_path_factory.mktemp("killed_at_once"))
    firestore.start()
    write(firestore, 0)
    firestore.end(signal.SIGKILL)
    firestore.close()
    return firestore.data.parent


@pytest.fixture(scope="session")
def killed(ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that wrote 60 documents, was started again, wrote 60 more and was killed.

    The latter are in the log only. `backup.sqlite` has all documents.
    """
    firestore = FirestoreProcess(tmp_path_factory.mktemp("killed"))
    use(firestore, ended)
    firestore.start()
    write(firestore, 100)
    archive("backup", "--data", firestore.data, "--output", firestore.data.with_name("backup.sqlite"))
    firestore.end(signal.SIGKILL)
    firestore.close()
    return firestore.data.parent
