"""What proofs search is all that real stores keep."""

from __future__ import annotations

import psycopg

from tools.prove.kept_places import PLAIN_REDIS, contents_of_redis, tables_of_postgres
from tools.redis_servers import RedisServer


def test_every_column_of_every_table_of_postgres_is_read(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE plain (number bigint, text text, bytes bytea, document jsonb)")
        connection.execute("INSERT INTO plain VALUES (7, 'told', 'kept'::bytea, '{\"a\": \"deep\"}')")
        connection.execute("CREATE TABLE days (day int, text text) PARTITION BY LIST (day)")
        connection.execute("CREATE TABLE days_1 PARTITION OF days FOR VALUES IN (1)")
        connection.execute(f"INSERT INTO days VALUES (1, '{'long ' * 2_000}end')")
    tables = {place.name: place.data for place in tables_of_postgres(empty_postgres_url)}
    assert all(text in tables["table plain"] for text in (b"told", b"kept", b'"deep"'))
    assert b"long end" in tables["table days_1"]


def test_every_kind_of_key_of_redis_is_read_and_its_files_too(needs_redis: None) -> None:
    with RedisServer(*PLAIN_REDIS) as server:
        with server.client() as client:
            client.set("name-of-string", "text-of-string " * 100)
            client.hset("name-of-hash", "field-of-hash", "text-of-hash")
            client.rpush("name-of-list", "text-of-list")
            client.sadd("name-of-set", "text-of-set")
            client.zadd("name-of-sorted", {"text-of-sorted": 1})
            client.xadd("name-of-stream", {"field-of-stream": "text-of-stream"})
        found: dict[str, bytes] = {}
        for place in contents_of_redis(server):
            found[place.name] = found.get(place.name, b"") + place.data
    log = next(data for name, data in found.items() if name.endswith(".aof") and ".incr." in name)
    for kind in ("string", "hash", "list", "set", "sorted", "stream"):
        assert f"name-of-{kind}".encode() in found["redis keys"]
        for data in (found["redis values"], found["redis file dump.rdb"], log):
            assert f"text-of-{kind}".encode() in data
