"""What the simulator remembers: frozen records in SQLite with a copy in memory. Every request runs in one
transaction of it, so a refused request changes nothing and an acknowledged one survives SIGKILL. Used by
every action; a feature adds a kind of record with a `Table`, never a schema change."""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

SCHEMA_VERSION = 1

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """A kind of record: its name in the database and the frozen dataclass that holds one."""

    name: str
    record: type[R]


class StoreError(Exception):
    """The state file cannot be used; the text says why and what to do."""


class Store:
    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._memory: dict[str, dict[str, Any]] = {}
        self._raw: dict[str, dict[str, str]] = {}
        self._guard = _guard(path)
        try:
            self._db = _open(path)
            for table, key, body in self._db.execute("SELECT kind, id, body FROM records"):
                self._raw.setdefault(table, {})[key] = body
        except (sqlite3.Error, StoreError) as error:
            self._guard.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(
                f"{path} is not a usable state file ({error}); name another file or delete it"
            ) from error

    def begin(self) -> Transaction:
        """A transaction, to be used in a `with` block; only one runs at a time."""
        return Transaction(self)

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._guard.close()

    def _committed(self, table: Table[Any]) -> dict[str, Any]:
        known = self._memory.get(table.name)
        if known is None:
            raw = self._raw.pop(table.name, {})
            known = {key: table.record(**json.loads(body)) for key, body in raw.items()}
            self._memory[table.name] = known
        return known

    def _commit(
        self, changes: dict[str, dict[str, Any]], statements: list[tuple[str, tuple[Any, ...]]]
    ) -> None:
        rows: list[tuple[str, str, str]] = []
        gone: list[tuple[str, str]] = []
        for name, entries in changes.items():
            for key, record in entries.items():
                if record is None:
                    gone.append((name, key))
                else:
                    rows.append((name, key, _encode(record)))
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if rows:
                self._db.executemany("INSERT OR REPLACE INTO records (kind, id, body) VALUES (?, ?, ?)", rows)
            if gone:
                self._db.executemany("DELETE FROM records WHERE kind = ? AND id = ?", gone)
            for sql, values in statements:
                self._db.execute(sql, values)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        for name, entries in changes.items():
            committed = self._memory[name]
            for key, record in entries.items():
                if record is None:
                    committed.pop(key, None)
                else:
                    committed[key] = record


class Transaction:
    """Reads see its own writes; `commit` makes them last, leaving the block without it forgets them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changes: dict[str, dict[str, Any]] = {}
        self._statements: list[tuple[str, tuple[Any, ...]]] = []

    def __enter__(self) -> Transaction:
        self._store._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store._lock.release()

    def all(self, table: Table[R]) -> list[R]:
        committed = self._store._committed(table)
        changes = self._changes.get(table.name)
        if not changes:
            return list(committed.values())
        merged = {**committed, **changes}
        return [record for record in merged.values() if record is not None]

    def commit(self) -> None:
        if self._changes or self._statements:
            self._store._commit(self._changes, self._statements)
        self.forget()

    def delete(self, table: Table[Any], key: str) -> None:
        self._store._committed(table)
        self._changes.setdefault(table.name, {})[key] = None

    def execute(self, sql: str, *values: Any) -> None:
        """Adds a statement to the commit; for tables that are written often and hardly read, as the call log."""
        self._statements.append((sql, values))

    def find(self, table: Table[R], key: str) -> R | None:
        changes = self._changes.get(table.name)
        if changes is not None and key in changes:
            return cast("R | None", changes[key])
        return cast("R | None", self._store._committed(table).get(key))

    def forget(self) -> None:
        """Drops what was not committed, as a dry run and a refusal do."""
        self._changes = {}
        self._statements = []

    def items(self, table: Table[R]) -> list[tuple[str, R]]:
        merged = {**self._store._committed(table), **self._changes.get(table.name, {})}
        return [(key, record) for key, record in merged.items() if record is not None]

    def put(self, table: Table[R], key: str, record: R) -> None:
        self._store._committed(table)
        self._changes.setdefault(table.name, {})[key] = record

    def query(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Reads committed rows of a table that is not held in memory."""
        return iter(self._store._db.execute(sql, values).fetchall())


def _encode(record: Any) -> str:
    # dataclasses.asdict copies deeply, which costs ten times as much as writing the record.
    return json.dumps({field.name: getattr(record, field.name) for field in fields(record)})


def _guard(path: Path) -> Any:
    """Two simulators on one file would each believe their own memory, so the second one is refused."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        guard = path.with_name(path.name + ".lock").open("a")
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}; name a file in a writable folder"
        ) from error
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        guard.close()
        raise StoreError(f"{path} is in use by another simulator; stop it or name another file") from None
    return guard


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    path.chmod(0o600)
    db.execute("PRAGMA journal_mode = WAL")
    # NORMAL does not wait for the disk: a commit survives the death of the process, not of the machine,
    # and a simulator need not outlive its machine's power cut with its last call.
    db.execute("PRAGMA synchronous = NORMAL")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise StoreError(
            f"{path} was written by another version of the simulator; delete it or name another file"
        )
    db.execute("BEGIN IMMEDIATE")
    db.execute(
        "CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, body TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE IF NOT EXISTS calls (seq INTEGER PRIMARY KEY AUTOINCREMENT, real_time REAL, body TEXT)"
    )
    db.execute("CREATE TABLE IF NOT EXISTS passed_on (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT)")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")
    return db
