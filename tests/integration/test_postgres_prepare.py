"""What only PostgreSQL asks of a start: several processes at once, rights, other people's tables."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from tests.contract.test_control_store import BLOCK, POLICIES, carry_out, change_of
from tests.contract.test_directories import customer
from tests.contract.test_store_races import cause_of
from tests.contract.test_usage_store import metering, record
from tools.postgres_servers import PostgresServer
from tools.processes import ROOT, free_port
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import FailedPrecondition, Unavailable
from usageflow.domain.usage import EndpointName, Outcome
from usageflow.storage.ports import WindowState
from usageflow.storage.sql import (
    MigrationKind,
    MigrationOutcome,
    SqlCheckpointStore,
    SqlControlStore,
    SqlUsageStore,
    alembic_runner,
    open_postgres,
    parse_postgres_url,
)
from usageflow.storage.sql import prepare_postgres as prepare
from usageflow.storage.sql.migrate import HEAD
from usageflow.storage.sql.postgres import postgres_engine

CLOCK = ManualClock(1_700_000_000_000_000)
SECRET = "correct-horse"
DOCS = ROOT / "docs" / "postgresql.md"


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def make_at(url: str, revision: str) -> None:
    engine = postgres_engine(parse_postgres_url(url), threads=1)
    with engine.begin() as connection:
        alembic_runner.upgrade(connection, revision, now_us=CLOCK.now_us())
    engine.dispose()


def tables(url: str) -> set[object]:
    return {name for (name,) in rows(url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid > 16384")}


def test_of_several_that_start_at_once_one_makes_the_database(empty_postgres_url: str) -> None:
    with ThreadPoolExecutor(6) as starting:
        outcomes = list(starting.map(lambda _: prepare(empty_postgres_url, CLOCK), range(6)))
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds == {MigrationKind.CREATED: 1, MigrationKind.CURRENT: 5}
    assert rows(empty_postgres_url, "SELECT created_us FROM installation") == [(CLOCK.now_us(),)]


def test_an_older_database_is_upgraded_with_its_data(empty_postgres_url: str) -> None:
    make_at(empty_postgres_url, "0001")
    execute(empty_postgres_url, "INSERT INTO applications VALUES ('id-1', 'demo', 0, 1, 5)")
    outcome = prepare(empty_postgres_url, CLOCK)
    assert outcome == MigrationOutcome(MigrationKind.UPGRADED, "0001", HEAD)
    assert str(outcome) == f"upgraded the database from revision 0001 to {HEAD}"
    assert rows(empty_postgres_url, "SELECT name, updated_us FROM applications") == [("demo", 5)]


def test_all_text_is_ordered_by_its_bytes(postgres_server: PostgresServer) -> None:
    name = postgres_server.new_database()
    with postgres_server.connection() as connection:
        connection.execute(f"ALTER DATABASE {name} RENAME TO {name}_c".encode())
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'".encode()
        )
    url = postgres_server.url(name)
    prepare(url, CLOCK)
    for app in ("b", "a", "B", "ä"):
        execute(url, f"INSERT INTO applications VALUES ('{app}', '{app}', 0, 1, 5)")
    ordered = rows(url, "SELECT name FROM applications ORDER BY name")
    assert ordered == [("B",), ("a",), ("b",), ("ä",)]
    for each in (name, f"{name}_c"):
        postgres_server.drop_database(each)


@pytest.mark.parametrize(
    ("statements", "reason", "told"),
    [
        (["UPDATE alembic_version SET version_num = '9999'"], "DATABASE_NEWER", "run the newer UsageFlow"),
        (
            ["DROP TABLE installation", "UPDATE alembic_version SET version_num = 'ab12'"],
            "DATABASE_UNKNOWN",
            "create an empty one",
        ),
        (["DROP TABLE alembic_version"], "DATABASE_UNKNOWN", "create an empty one"),
    ],
    ids=["newer", "of others who use Alembic", "of others"],
)
def test_a_database_that_is_not_ours_to_prepare_is_left_alone(
    postgres_url: str, statements: list[str], reason: str, told: str
) -> None:
    for statement in statements:
        execute(postgres_url, statement)
    before = tables(postgres_url)
    with pytest.raises(FailedPrecondition, match=told) as raised:
        prepare(postgres_url, CLOCK)
    assert raised.value.reason == reason
    assert tables(postgres_url) == before


def test_a_database_that_cannot_hold_all_text_is_refused(postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'")
    with pytest.raises(FailedPrecondition, match="ENCODING 'UTF8'") as raised:
        prepare(postgres_server.url("ascii"), CLOCK)
    assert raised.value.reason == "DATABASE_UNSUITED"
    postgres_server.drop_database("ascii")


def test_a_search_path_that_leads_nowhere_is_refused(empty_postgres_url: str) -> None:
    name = parse_postgres_url(empty_postgres_url).parameters["dbname"]
    execute(empty_postgres_url, f"ALTER DATABASE {name} SET search_path = nowhere")
    with pytest.raises(FailedPrecondition, match="search_path"):
        prepare(empty_postgres_url, CLOCK)


def test_a_schema_of_its_own_is_enough_for_a_user_without_other_rights(empty_postgres_url: str) -> None:
    database = parse_postgres_url(empty_postgres_url).parameters["dbname"]
    user = f"owner_of_{database}"
    execute(empty_postgres_url, "CREATE TABLE songs (title TEXT)")
    execute(empty_postgres_url, f"CREATE ROLE {user} LOGIN")
    url = empty_postgres_url.replace("postgres@", f"{user}@")
    with pytest.raises(FailedPrecondition, match="not UsageFlow's"):
        prepare(url, CLOCK)
    execute(empty_postgres_url, "DROP TABLE songs")
    with pytest.raises(Unavailable, match="the owner of the database, or of its schema"):
        prepare(url, CLOCK)
    execute(empty_postgres_url, f"CREATE SCHEMA usageflow AUTHORIZATION {user}")
    execute(empty_postgres_url, f"ALTER ROLE {user} SET search_path = usageflow")
    assert prepare(url, CLOCK).kind is MigrationKind.CREATED
    assert prepare(url, CLOCK).kind is MigrationKind.CURRENT


async def test_who_serves_need_not_own_the_tables(postgres_url: str) -> None:
    """The rights that docs/postgresql.md names, word for word."""
    user = f"user_of_{parse_postgres_url(postgres_url).parameters['dbname']}"
    execute(postgres_url, f"CREATE ROLE {user} LOGIN")
    for right in re.findall(
        r"^((?:GRANT|REVOKE) .*) (?:TO|FROM) usageflow_service;$", DOCS.read_text(), re.MULTILINE
    ):
        execute(postgres_url, f"{right} {'FROM' if right.startswith('REVOKE') else 'TO'} {user}")
    url = postgres_url.replace("postgres@", f"{user}@")
    assert prepare(url, CLOCK).kind is MigrationKind.CURRENT
    opened = open_postgres(url)
    control, usage = SqlControlStore(opened, CLOCK), SqlUsageStore(opened, CLOCK)
    made = await control.create_application("demo", [], cause=cause_of("demo"))
    change = change_of(policies=POLICIES, blocks_upserted=(BLOCK,), customers_upserted=(customer("acme", 1),))
    await carry_out(control, made.application_id, change)
    await control.register_endpoints(made.application_id, [EndpointName("GET", "/")], now_us=1)
    reported = record("a", metered=(metering(),))
    assert await usage.ingest([(made.application_id, [reported])]) == [[Outcome.ACCEPTED]]
    await SqlCheckpointStore(opened, CLOCK).save_windows([WindowState("k", 0, 9, 1)])
    with pytest.raises(ProgrammingError, match="permission denied"):
        await opened.write(lambda connection: connection.execute(text("DELETE FROM audit_log")).close())
    await opened.close()
    execute(postgres_url, f"DROP OWNED BY {user}")


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_postgres_url: str) -> None:
    make_at(empty_postgres_url, "0001")
    # 0002 succeeds; this index is in the way of the last statement of 0003.
    execute(empty_postgres_url, "CREATE TABLE in_the_way (a INT)")
    execute(empty_postgres_url, "CREATE INDEX ix_window_checkpoints_end ON in_the_way (a)")
    before = tables(empty_postgres_url)
    with pytest.raises(Unavailable, match="it is as it was"):
        prepare(empty_postgres_url, CLOCK)
    assert tables(empty_postgres_url) == before
    assert rows(empty_postgres_url, "SELECT version_num FROM alembic_version") == [("0001",)]
    execute(empty_postgres_url, "DROP TABLE in_the_way")
    assert prepare(empty_postgres_url, CLOCK).kind is MigrationKind.UPGRADED


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    with pytest.raises(Unavailable, match="USAGEFLOW_DATABASE_URL") as raised:
        prepare(f"postgresql://ann:{SECRET}@127.0.0.1:{free_port()}/usage", CLOCK)
    assert "usage on 127.0.0.1" in str(raised.value)
    assert SECRET not in str(raised.value)


def test_a_database_that_is_not_there_is_told_in_the_servers_words(postgres_server: PostgresServer) -> None:
    with pytest.raises(Unavailable, match='database "missing" does not exist'):
        prepare(postgres_server.url("missing"), CLOCK)


PARTITIONS = "SELECT count(*) FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relname ~ '[0-9]{8}$'"


def test_a_start_days_later_finds_room_for_reports(postgres_url: str) -> None:
    (before,) = rows(postgres_url, PARTITIONS)
    later = ManualClock(CLOCK.now_us() + 2 * 86_400_000_000)
    outcomes = [prepare(postgres_url, clock).kind for clock in (later, later)]
    assert outcomes == [MigrationKind.CURRENT] * 2
    assert (before, rows(postgres_url, PARTITIONS)) == ((76,), [(80,)])
