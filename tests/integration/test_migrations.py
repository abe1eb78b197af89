"""Every migration, up and down, on both databases, without data and with some in every table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from usageflow.domain.blocks import block_id, stored_key
from usageflow.domain.policies import Block
from usageflow.storage.sql import alembic_runner, parse_postgres_url
from usageflow.storage.sql.collation import order_text_by_bytes
from usageflow.storage.sql.database import sqlite_engine
from usageflow.storage.sql.migrate import HEAD, REVISIONS
from usageflow.storage.sql.postgres import postgres_engine
from usageflow.storage.sql.tables import METADATA

NOW_US = 1_700_000_000_000_000
OF_THE_OTHER = {"sqlite": "ix_events_row", "postgresql": "ix_events_time"}
"""An index that one database has and the other lacks; Alembic compares all that are declared."""
Transaction = Callable[[], AbstractContextManager[Connection]]


def _engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "sqlite":
        path: Path = request.getfixturevalue("tmp_path") / "usageflow.db"
        path.touch()
        return sqlite_engine(path, begin="BEGIN IMMEDIATE", threads=1)
    return postgres_engine(parse_postgres_url(request.getfixturevalue("empty_postgres_url")), threads=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def transaction(request: pytest.FixtureRequest) -> Iterator[Transaction]:
    """Opens a transaction on a database with nothing in it."""
    engine = _engine(request)
    yield engine.begin
    engine.dispose()


def go_up(transaction: Transaction, revision: str = HEAD) -> None:
    with transaction() as connection:
        alembic_runner.upgrade(connection, revision, now_us=NOW_US)


def go_down(transaction: Transaction, revision: str) -> None:
    with transaction() as connection:
        alembic_runner.downgrade(connection, revision, now_us=NOW_US)


def rows(transaction: Transaction, statement: str) -> list[tuple[Any, ...]]:
    with transaction() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def _index(index: Mapping[str, Any]) -> str:
    conditions = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return str((index["name"], index["column_names"], bool(index["unique"]), conditions))


def schema(connection: Connection) -> dict[str, Any]:
    """Returns all that the catalogue tells of our tables."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            },
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "indices": sorted(_index(index) for index in inspector.get_indexes(table)),
            "unique": sorted(
                str(unique["column_names"]) for unique in inspector.get_unique_constraints(table)
            ),
            "checks": sorted(str(check["name"]) for check in inspector.get_check_constraints(table)),
            "foreign": sorted(str(key["constrained_columns"]) for key in inspector.get_foreign_keys(table)),
        }
        for table in inspector.get_table_names()
        if table not in {"alembic_version", *partitions(connection)}
    }


def partitions(connection: Connection) -> set[str]:
    """Returns the tables that are parts of others: of which days there are some depends on the data."""
    if connection.dialect.name == "sqlite":
        return set()
    names = "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relkind = 'r'"
    return set(connection.scalars(text(names)))


def schema_of(transaction: Transaction) -> dict[str, Any]:
    with transaction() as connection:
        return schema(connection)


def test_each_migration_goes_up_and_down(transaction: Transaction) -> None:
    schemas = {}
    for revision in REVISIONS:
        go_up(transaction, revision)
        schemas[revision] = schema_of(transaction)
    for revision in reversed(REVISIONS):
        go_down(transaction, revision)
        assert schema_of(transaction) == schemas[revision]
    go_down(transaction, "base")
    assert schema_of(transaction) == {}
    go_up(transaction)
    assert schema_of(transaction) == schemas[HEAD]


def test_migrations_make_what_the_tables_say(transaction: Transaction) -> None:
    go_up(transaction)
    with transaction() as connection:
        others = {*partitions(connection), OF_THE_OTHER[connection.dialect.name]}
        ours = {"include_object": lambda _, name, *__: name not in others}
        context = MigrationContext.configure(connection, opts=ours)
        assert compare_metadata(context, METADATA) == []


@contextmanager
def _undone(transaction: Transaction) -> Iterator[Connection]:
    with transaction() as connection:
        yield connection
        connection.rollback()


def test_the_tables_alone_make_the_same(transaction: Transaction) -> None:
    """compare_metadata sees neither checks nor orders of text."""
    with _undone(transaction) as connection:
        METADATA.create_all(connection)
        order_text_by_bytes(connection)
        declared = schema(connection)
    go_up(transaction)
    assert schema_of(transaction) == declared


BLOCK = Block(methods=("GET",), path="/internal/*", identity="user-9", reason="abuse")
DECLARED = {"strategies": [{"name": "by-user"}], "policies": [{"name": "p"}], "plans": [{"name": "pro"}]}
DATA: dict[str, dict[str, Any]] = {
    "applications": {
        "application_id": "id-1",
        "name": "demo",
        "revision": 1,
        "plan_version": 3,
        "created_us": 5,
    },
    "credentials": {
        "credential_id": "c-1",
        "kind": "API_KEY",
        "application_id": "id-1",
        "prefix": "uf_1",
        "secret_hash": bytes(32),
        "created_us": 5,
    },
    "revisions": {
        "application_id": "id-1",
        "revision": 1,
        "author": "ann",
        "created_us": 6,
        "document": json.dumps(DECLARED),
    },
    "blocks": {
        "application_id": "id-1",
        "block_key": stored_key(BLOCK),
        "document": BLOCK.model_dump_json(),
    },
    "numbers": {"application_id": "id-1", "kind": "POLICY", "name": "p", "number": 1},
    "number_marks": {"application_id": "id-1", "kind": "POLICY", "last_number": 1},
    "endpoints": {
        "application_id": "id-1",
        "method": "GET",
        "template": "/",
        "first_seen_us": 5,
        "last_seen_us": 5,
    },
    "endpoint_names": {"application_id": "id-1", "method": "GET", "template": "/"},
    "identities": {"pseudonym": 7, "application_id": "id-1", "value": "ann"},
    "report_ids": {
        "application_id": "id-1",
        "record_id": "a",
        "day": 0,
        "payload_hash": bytes(16),
        "received_us": 5,
    },
    "window_checkpoints": {"key": "k", "start_us": 0, "end_us": 9, "used": 4, "at_us": 3},
    "directories": {"application_id": "id-1", "version": 1},
    "customers": {
        "application_id": "id-1",
        "name": "acme",
        "version": 1,
        "deleted": False,
        "stripe_customer": "",
        "plan": "pro",
        "overrides": "[]",
    },
    "customer_identities": {"application_id": "id-1", "identity_hash": bytes(32), "customer": "acme"},
}
BEFORE_DATA = "0005"


@pytest.fixture
def filled(transaction: Transaction) -> Transaction:
    """A database as the version before this one left it, with a row in each table."""
    go_up(transaction, BEFORE_DATA)
    with transaction() as connection:
        for table, row in DATA.items():
            insert(connection, table, row)
        token = {"credential_id": "c-2", "kind": "ADMIN_TOKEN", "application_id": None}
        insert(connection, "credentials", DATA["credentials"] | token | {"secret_hash": bytes([1]) * 32})
    return transaction


def insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    marks = ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"), row)


def test_what_was_there_gets_what_is_new(filled: Transaction) -> None:
    go_up(filled)
    statements: dict[str, list[tuple[Any, ...]]] = {
        "SELECT updated_us, deleted_us, version FROM applications": [(5, None, 1)],
        "SELECT credential_id, name, scopes, role FROM credentials ORDER BY credential_id": [
            ("c-1", "c-1", "AGENT REPORT READ", ""),
            ("c-2", "c-2", "", "OWNER"),
        ],
        "SELECT block_id, created_us, version FROM blocks": [(block_id(BLOCK), NOW_US, 1)],
        "SELECT name, created_us, identities FROM customers": [("acme", NOW_US, "[]")],
        "SELECT kind, name, created_us, revision FROM resources ORDER BY kind": [
            ("plan", "pro", 6, 1),
            ("policy", "p", 6, 1),
            ("strategy", "by-user", 6, 1),
        ],
        "SELECT sequence, digest FROM audit_head": [(0, bytes(32))],
    }
    for statement, expected in statements.items():
        assert rows(filled, statement) == expected


def test_data_outlive_the_way_down_and_up_again(filled: Transaction) -> None:
    go_up(filled)
    go_down(filled, BEFORE_DATA)
    for table, row in DATA.items():
        kept = rows(filled, f"SELECT {', '.join(row)} FROM {table}")
        assert tuple(row.values()) in kept
    go_up(filled)
    for revision in reversed(REVISIONS):
        go_down(filled, revision)
    assert rows(filled, "SELECT name FROM applications") == [("demo",)]
    go_down(filled, "base")


def test_nobody_changes_an_entry_of_the_audit_log(transaction: Transaction) -> None:
    go_up(transaction)
    texts = ("peer", "method", "application_id", "action", "kind", "resource_id", "request_id", "actor_id")
    entry = {"sequence": 1, "at_us": 1, "revision": 0, "digest": bytes(32)} | dict.fromkeys(texts, "")
    with transaction() as connection:
        insert(connection, "audit_log", entry)
    for statement in ("UPDATE audit_log SET at_us = 2", "DELETE FROM audit_log"):
        with pytest.raises(IntegrityError, match="append-only"), transaction() as connection:
            connection.execute(text(statement))
    assert rows(transaction, "SELECT at_us FROM audit_log") == [(1,)]


EVENT = {
    "application_id": "id-1",
    "event_id": "e",
    "series_id": 1,
    "path": "/",
    "pseudonym": 0,
    "latency_us": 1,
    "quantity": 1.0,
    "request_bytes": 0,
    "response_bytes": 0,
    "detail_json": "",
}


def test_events_and_ids_go_to_their_days_and_back(transaction: Transaction) -> None:
    go_up(transaction, "0010")
    day_us = 86_400_000_000
    with transaction() as connection:
        for day in (1, 1, 19_675):
            insert(connection, "events", EVENT | {"time_us": day * day_us})
        for number, day in enumerate((0, 1, 19_675)):
            insert(connection, "report_ids", DATA["report_ids"] | {"day": day, "received_us": number})
    before = rows(transaction, "SELECT row_id, time_us FROM events ORDER BY row_id")
    go_up(transaction)
    with transaction() as connection:
        if connection.dialect.name == "postgresql":
            days = {"19700102", "20231114"}
            named = {f"{table}_{end}" for table in ("events", "report_ids") for end in (*days, "rest")}
            assert partitions(connection) == {*named, "report_ids_undated"}
            assert connection.scalars(text("SELECT row_id FROM events_rest")).all() == []
        insert(connection, "events", EVENT | {"time_us": 5 * day_us})
    assert rows(transaction, "SELECT row_id FROM events ORDER BY row_id") == [(1,), (2,), (3,), (4,)]
    go_down(transaction, "0010")
    assert rows(transaction, "SELECT row_id, time_us FROM events ORDER BY row_id LIMIT 3") == before
    assert rows(transaction, "SELECT day FROM report_ids ORDER BY day") == [(0,), (1,), (19_675,)]
