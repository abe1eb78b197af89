"""All that an installation keeps, as places to search: every column of every table, every key of Redis, every file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg import sql

from tools.prove.planted import Place
from tools.redis_servers import RedisServer

PLAIN_REDIS = ("--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--rdbcompression", "no")
"""Options of a Redis whose files can be searched: nothing in them is packed."""

_TABLES = (
    "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
    " ORDER BY 1, 2"
)


def tables_of_postgres(url: str) -> Iterator[Place]:
    """Yields every table of a database, partitions too, as its columns are: binary, so that bytes are searched as bytes."""
    with psycopg.connect(url, autocommit=True) as connection:
        for schema, table in connection.execute(_TABLES).fetchall():
            copied = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(schema, table))
            with connection.cursor().copy(copied) as copy:
                yield Place(f"table {table}", b"".join(bytes(part) for part in copy))


def tables_of_sqlite(path: Path) -> Iterator[Place]:
    """Yields every table of a database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"
        ).fetchall()
        for (name,) in names:
            table = name.decode()
            rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - its own tables
            yield Place(f"table {table}", b"\n".join(_bytes(value) for row in rows for value in row))


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def files_under(folder: Path) -> Iterator[Place]:
    """Yields every file in a folder and below."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield Place(f"file {path.relative_to(folder)}", path.read_bytes())


def contents_of_redis(server: RedisServer) -> Iterator[Place]:
    """Yields keys, values as Redis itself writes them, and its files: the snapshot, the log of writes and what it said. The server
    must run with PLAIN_REDIS.
    """
    with server.client() as client:
        for key in client.scan_iter(count=1_000):
            yield Place("redis keys", key)
            yield Place("redis values", client.dump(key) or b"")  # one that has just expired has none
        client.save()
        folder = client.config_get("dir")["dir"]
    for place in files_under(Path(folder)):
        yield Place(f"redis {place.name}", place.data)
