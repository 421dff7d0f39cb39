"""Entry tables together contain the entries that were added and not deleted, at every moment of every merge."""

import contextlib
import logging
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.embedded.firestore.data_file import file_format
from infra.embedded.firestore.indexes import entry_merges, entry_tables
from infra.embedded.firestore.indexes.entry_merges import EntryMerges
from infra.embedded.firestore.indexes.entry_tables import EntryTables

END = b"\xff"
numbers = st.integers(1, 2)
keys = st.integers(0, 25).map(lambda number: bytes((number,)))
operations = st.one_of(
    st.tuples(st.just("replace"), numbers, st.sets(keys, max_size=4), st.sets(keys, max_size=8)),
    st.tuples(st.just("build"), numbers, st.sets(keys, max_size=8), st.just(set[bytes]())),
    st.tuples(st.just("clear"), numbers, st.sets(keys, min_size=2, max_size=2), st.just(set[bytes]())),
    st.tuples(st.just("merge"), numbers, st.just(set[bytes]()), st.just(set[bytes]())),
)


@pytest.fixture(autouse=True, scope="module")
def small_tables() -> object:
    """Tables are full after a few entries, and a merge moves few entries at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry_merges, "MAX_OPEN_ENTRIES", 3)
        patch.setattr(entry_merges, "MERGED_TABLES", 2)
        patch.setattr(entry_merges, "MIN_CHANGED_ROWS", 1)
        patch.setattr(entry_merges, "MOVED_PER_CHANGED_ROW", 1)
        patch.setattr(entry_merges, "MAX_LEVEL_EMPTIED_AT_ONCE", 1)
        yield


class _Entries:
    """The entries of a file, and what they must be."""

    def __init__(self, path: str = ":memory:") -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        file_format.prepare(self.connection, 0)
        self.merges = EntryMerges(self.connection)
        self.expected: set[tuple[int, bytes]] = set()

    def replace(self, number: int, deleted: set[bytes], added: set[bytes]) -> None:
        """Delete and add entries, as a commit does."""
        self.connection.execute("BEGIN")
        self.merges.tables.delete([(number, key) for key in sorted(deleted)])
        self.expected -= {(number, key) for key in deleted}
        new = sorted(key for key in added if (number, key) not in self.expected)
        self.merges.tables.add([(number, key, 1) for key in new])
        self.expected |= {(number, key) for key in added}
        self.connection.execute("COMMIT")

    def build(self, number: int, added: set[bytes], _: set[bytes]) -> None:
        """Add entries, some of which may exist."""
        EntryTables(self.connection).add_missing(number, [(key, 1) for key in sorted(added)])
        self.expected |= {(number, key) for key in added}

    def clear(self, number: int, bounds: set[bytes], _: set[bytes]) -> None:
        """Delete a range of entries in steps."""
        low, high = sorted(bounds)
        tables = EntryTables(self.connection)
        while (key := tables.first_key(number, low)) is not None and key < high:
            tables.delete_range(number, key, high, 1)
        self.expected -= {each for each in self.expected if each[0] == number and low <= each[1] < high}

    def merge(self, *_: object) -> None:
        """Continue the merges."""
        self.merges.advance()

    def check(self) -> None:
        """Compare everything that can be read with what is expected."""
        tables = EntryTables(self.connection)
        assert [(number, key) for number, key, _ in tables.rows()] == sorted(self.expected)
        for number in (1, 2):
            expected = sorted(key for each, key in self.expected if each == number and b"\x05" <= key < b"\x15")
            for each in (tables, EntryTables(self.connection, reads_in_parts=True)):
                assert [key for key, _ in each.scan(number, b"\x05", b"\x15")] == expected
                assert [key for key, _ in each.scan(number, b"\x05", b"\x15", reverse=True)] == expected[::-1]
                assert [key for key, _ in each.scan(number, b"\x05", b"\x15", limit=2)] == expected[:2]
                assert [key for key, _ in each.scan(number, b"\x05", b"\x15", limit=6)] == expected[:6]
            assert tables.count(number, b"\x05", b"\x15") == len(expected)
            assert tables.count_up_to(number, b"\x05", b"\x15", 3) == min(3, len(expected))
            assert tables.count_keys(number, [*expected, b"absent"]) == len(expected)
            ending = {key for each, key in self.expected if each == number and key.endswith(b"\x07")}
            assert tables.ending_with(number, b"\x07").keys() == ending


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=40))
def test_all_tables_together_have_the_entries(history: list[tuple[str, int, set[bytes], set[bytes]]]) -> None:
    """After any changes, and between any two steps of merges, which continue after a restart."""
    entries = _Entries()
    with contextlib.closing(entries.connection):
        for kind, *arguments in history:
            getattr(entries, kind)(*arguments)
            entries.check()
            if kind == "merge":
                entries.merges = EntryMerges(entries.connection)  # as after a restart


def test_merges_keep_up_and_free_their_tables() -> None:
    """In the end there are few tables, although hundreds were filled."""
    entries = _Entries()
    with contextlib.closing(entries.connection):
        for number in range(1_000):
            entries.replace(1, set(), {number.to_bytes(2, "big")})
            entries.merge()

        entries.check()
        tables = entry_tables.all_tables(entries.connection)
        assert max(table.level for table in tables) > 3
        assert len(tables) < 50


def test_a_large_table_is_emptied_in_steps() -> None:
    """Otherwise no commit could run for seconds. Each step deletes as many entries as a merge moves."""
    entries = _Entries()
    emptied = 0
    with contextlib.closing(entries.connection):
        for number in range(500):
            entries.replace(1, set(), {number.to_bytes(2, "big")})
            before = _moved(entries.connection)
            entries.merge()
            after = _moved(entries.connection)
            assert all(count - after.get(name, 0) <= 1 for name, count in before.items())
            emptied += len(before.keys() - after.keys())

    assert emptied > 10


def _moved(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of entries in each large table whose entries are all in another table."""
    return {
        table.name: connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
        for table in entry_tables.all_tables(connection)
        if table.state == entry_tables.MOVED and table.level > entry_merges.MAX_LEVEL_EMPTIED_AT_ONCE
    }


def test_a_reader_sees_its_state_while_merges_run(tmp_path: Path) -> None:
    """Also if tables that it reads are merged, emptied and used again."""
    entries = _Entries(str(tmp_path / "file"))
    reader = sqlite3.connect(tmp_path / "file", isolation_level=None)
    with contextlib.closing(entries.connection), contextlib.closing(reader):
        for number in range(10):
            entries.replace(1, set(), {bytes((number,))})
            entries.merge()
        reader.execute("BEGIN")
        before = EntryTables(reader)
        for number in range(10, 100):
            entries.replace(1, {bytes((number - 10,))}, {bytes((number,))})
            entries.merge()

        assert [key for key, _ in before.scan(1, b"", END)] == [bytes((number,)) for number in range(10)]


def test_a_merge_that_fails_changes_nothing_and_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """It logs one warning. The entries stay readable, and later steps end the merge."""
    entries = _Entries()
    with contextlib.closing(entries.connection):
        for number in range(100):
            entries.replace(1, set(), {bytes((number,))})
            broken = 20 <= number < 60
            entries.connection.set_authorizer(_refuse_updates if broken else None)
            with caplog.at_level(logging.WARNING):
                entries.merge()
            entries.connection.set_authorizer(None)
            entries.check()

        assert [record.message.partition(":")[0] for record in caplog.records] == [
            "Cannot merge index entries, trying again later"
        ]
        assert len(entry_tables.all_tables(entries.connection)) < 30


def test_entries_stay_readable_although_the_disk_fails_after_a_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later commits would otherwise add entries to a table of which only the rest is read."""
    entries = _Entries()
    with contextlib.closing(entries.connection):
        for number in range(100):
            entries.replace(1, set(), {bytes((99 - number,))})
            with monkeypatch.context() as failing:
                failing.setattr(entry_merges, "EntryTables", partial(_tables_of_transaction, entries.connection))
                entries.merge()
            entries.check()


def _tables_of_transaction(connection: sqlite3.Connection, _: sqlite3.Connection) -> EntryTables:
    """Return the tables. Fail outside of a transaction, as a read of a failing disk can."""
    if not connection.in_transaction:
        raise sqlite3.OperationalError("disk I/O error")
    return EntryTables(connection)


def test_open_scans_in_parts_use_one_prepared_statement() -> None:
    """Python prepares a statement again if it is in use. That takes longer than reading the first keys."""
    entries = _Entries()
    prepared: list[object] = []
    with contextlib.closing(entries.connection):
        entries.replace(1, set(), {bytes((number,)) for number in range(9)})
        entries.connection.set_authorizer(partial(_allow, prepared))
        tables = EntryTables(entries.connection, reads_in_parts=True)
        assert len(list(tables.scan(1, b"", END))) == 9
        prepared.clear()

        scans = [tables.scan(1, bytes((number,)), END) for number in range(3)]

        assert [next(scan)[0] for scan in scans] == [b"\x00", b"\x01", b"\x02"]
        assert prepared == []


def _refuse_updates(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_UPDATE else sqlite3.SQLITE_OK


def _allow(actions: list[object], *action: object) -> int:
    """Remember what a statement will do. SQLite asks this when it prepares the statement."""
    actions.append(action)
    return sqlite3.SQLITE_OK
