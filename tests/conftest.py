"""Real Redis and PostgreSQL servers for every test that asks for one: started when the first does, one set per worker. And no
time limits: a property holds on a busy machine too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tools import postgres_servers
from tools.postgres_servers import PostgresServer
from tools.redis_servers import NEEDED, RedisCluster, RedisServer, is_installed
from usageflow.domain.clock import ManualClock
from usageflow.storage.sql import prepare_postgres

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def _need_redis() -> None:
    if not is_installed():
        _missing(NEEDED)


def _need_postgres() -> None:
    if not postgres_servers.is_installed():
        _missing(postgres_servers.NEEDED)


def _missing(needed: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(needed)
    pytest.skip(needed)


@pytest.fixture(scope="session")
def needs_redis() -> None:
    """For tests that start servers themselves."""
    _need_redis()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that tests share: each uses keys of its own and leaves the server as it is."""
    _need_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """A cluster of three primaries, shared likewise."""
    _need_redis()
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test alone, which it may kill, pause or empty."""
    _need_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that tests share: each makes databases of its own and leaves the server as it is."""
    _need_postgres()
    with PostgresServer(quick=True) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a prepared database, to which nobody connects: copies of it are quick."""
    name = postgres_server.new_database()
    prepare_postgres(postgres_server.url(name), ManualClock())
    return name


@pytest.fixture
def empty_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database with nothing in it, for this test alone."""
    name = postgres_server.new_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The address of a prepared database for this test alone."""
    name = postgres_server.new_database(postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of this test alone, which it may kill, pause or fill."""
    _need_postgres()
    with PostgresServer(quick=True) as server:
        yield server
