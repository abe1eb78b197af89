from __future__ import annotations

import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import FailedPrecondition, Unavailable
from usageflow.storage.sql import (
    MigrationKind,
    MigrationOutcome,
    SqlControlStore,
    alembic_runner,
    migrate,
    open_sqlite,
    prepare,
)
from usageflow.storage.sql.database import sqlite_engine
from usageflow.storage.sql.tables import METADATA

CLOCK = ManualClock(1_700_000_000_000_000)
STAMP = "20231114T221320Z"


@contextmanager
def transaction(path: Path) -> Iterator[Connection]:
    path.touch()
    engine = sqlite_engine(path, begin="BEGIN IMMEDIATE", threads=1)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def make_at(path: Path, revision: str) -> None:
    with transaction(path) as connection:
        alembic_runner.upgrade(connection, revision, now_us=CLOCK.now_us())


def take_down(path: Path, revision: str) -> None:
    with transaction(path) as connection:
        alembic_runner.downgrade(connection, revision, now_us=CLOCK.now_us())


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def dump(path: Path) -> list[str]:
    """Returns all that the file holds, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "100% data ü"
    folder.mkdir()
    return folder / "usageflow.db"


@pytest.fixture
def older(path: Path) -> Path:
    """A database at the first revision with an application in it."""
    make_at(path, "0001")
    execute(path, "INSERT INTO applications VALUES ('id-1', 'demo', 0, 1, 5)")
    return path


@pytest.mark.parametrize("exists", [False, True], ids=["missing", "empty"])
def test_a_new_file_is_made_at_head(path: Path, exists: bool) -> None:
    if exists:
        path.touch()
    assert prepare(path, CLOCK) == MigrationOutcome(MigrationKind.CREATED, "", migrate.HEAD)
    assert rows(path, "SELECT version_num FROM alembic_version") == [(migrate.HEAD,)]
    ((installation_id, created_us),) = rows(path, "SELECT * FROM installation")
    assert str(uuid.UUID(str(installation_id))) == installation_id
    assert created_us == CLOCK.now_us()
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_a_file_at_head_is_left_alone(path: Path) -> None:
    prepare(path, CLOCK)
    before = path.read_bytes()
    outcome = prepare(path, CLOCK)
    assert outcome == MigrationOutcome(MigrationKind.CURRENT, migrate.HEAD, migrate.HEAD)
    assert str(outcome) == f"the database is at revision {migrate.HEAD}"
    assert path.read_bytes() == before


def test_the_usual_start_imports_neither_alembic_nor_a_driver(path: Path) -> None:
    prepare(path, CLOCK)
    program = (
        "import sys; from pathlib import Path; from usageflow.storage.sql import prepare;"
        "from usageflow.domain.clock import ManualClock;"
        "prepare(Path(sys.argv[1]), ManualClock()); print({'alembic', 'psycopg'} & {*sys.modules})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "set()\n"


async def test_an_older_file_is_copied_and_upgraded_with_its_data(older: Path) -> None:
    before = dump(older)
    outcome = prepare(older, CLOCK)
    backup = older.with_name(f"{older.name}.backup-0001-{STAMP}")
    assert outcome == MigrationOutcome(MigrationKind.UPGRADED, "0001", migrate.HEAD, backup)
    assert str(backup) in str(outcome)
    assert dump(backup) == before
    assert rows(backup, "SELECT version_num FROM alembic_version") == [("0001",)]
    database = open_sqlite(older)
    application = await SqlControlStore(database, CLOCK).find_application("demo")
    await database.close()
    assert application is not None
    assert application.application_id == "id-1"
    assert sorted(child.name for child in older.parent.iterdir()) == [older.name, backup.name]


def test_a_copy_holds_what_only_the_log_holds_yet(older: Path) -> None:
    with closing(sqlite3.connect(older)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint=0")
        with writer:
            writer.execute("INSERT INTO applications VALUES ('id-2', 'other', 0, 1, 5)")
        outcome = prepare(older, CLOCK)
    assert outcome.backup is not None
    for file in (older, outcome.backup):
        assert rows(file, "SELECT count(*) FROM applications") == [(2,)]


def test_a_copy_is_as_private_as_the_original(older: Path) -> None:
    older.chmod(0o600)
    outcome = prepare(older, CLOCK)
    assert outcome.backup is not None
    assert outcome.backup.stat().st_mode == older.stat().st_mode


def test_where_no_copy_can_be_made_nothing_is_upgraded(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(migrate, "copy_database", fail)
    before = dump(older)
    with pytest.raises(Unavailable, match="free space"):
        prepare(older, CLOCK)
    assert dump(older) == before


def test_a_newer_file_is_refused_with_the_fix(path: Path) -> None:
    prepare(path, CLOCK)
    execute(path, "UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    with pytest.raises(FailedPrecondition) as raised:
        prepare(path, CLOCK)
    assert raised.value.reason == "DATABASE_NEWER"
    assert "run the newer UsageFlow" in str(raised.value)
    assert f"{path.name}.backup-" in str(raised.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, None], ids=["no database", "another one"]
)
def test_a_file_that_is_none_of_ours_is_refused(path: Path, content: bytes | None) -> None:
    if content is None:
        execute(path, "CREATE TABLE songs (title TEXT)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(FailedPrecondition) as raised:
        prepare(path, CLOCK)
    assert raised.value.reason == "DATABASE_UNKNOWN"
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_file_as_it_was(older: Path) -> None:
    # 0002 succeeds; this index is in the way of the last statement of 0003.
    execute(older, "CREATE TABLE in_the_way (a INT)")
    execute(older, "CREATE INDEX ix_window_checkpoints_end ON in_the_way (a)")
    before = dump(older)
    with pytest.raises(Unavailable, match="it is as it was"):
        prepare(older, CLOCK)
    assert dump(older) == before
    execute(older, "DROP TABLE in_the_way")
    assert prepare(older, CLOCK).kind is MigrationKind.UPGRADED


def test_a_migration_that_breaks_references_is_undone(older: Path) -> None:
    execute(older, "INSERT INTO blocks VALUES ('nobody', 'key', '{}')")
    before = dump(older)
    with pytest.raises(RuntimeError, match="blocks"):
        prepare(older, CLOCK)
    assert dump(older) == before


def test_a_new_file_whose_migration_fails_is_not_left_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Connection) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(migrate, "_check_references", fail)
    with pytest.raises(RuntimeError, match="boom"):
        prepare(path, CLOCK)
    assert list(path.parent.iterdir()) == []


def test_migrations_print_nothing(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_at(path, "0001")
    prepare(path, CLOCK)
    assert capfd.readouterr() == ("", "")


def test_the_known_revisions_are_those_of_the_scripts() -> None:
    script = ScriptDirectory(str(alembic_runner.SCRIPTS))
    found = [step.revision for step in script.walk_revisions()]
    assert tuple(reversed(found)) == migrate.REVISIONS
    assert script.get_heads() == [migrate.HEAD]


def test_migrations_make_the_very_same_tables(path: Path) -> None:
    """compare_metadata does not see checks, partial indices and tables without row ids."""
    other = path.with_name("from-metadata.db")
    prepare(path, CLOCK)
    with transaction(other) as connection:
        METADATA.create_all(connection)
    schema = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%' ORDER BY name"
    assert [_normal(row) for row in rows(path, schema)] == [_normal(row) for row in rows(other, schema)]


def _normal(row: tuple[object, ...]) -> tuple[object, str]:
    name, sql = row
    return name, "".join(str(sql).split())
