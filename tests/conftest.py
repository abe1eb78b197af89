"""Real Redis servers for every test that asks for one: started when the first does, one set per worker. And no time limits:
a property holds on a busy machine too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tools.redis_servers import NEEDED, RedisCluster, RedisServer, is_installed

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def _need_redis() -> None:
    if is_installed():
        return
    if os.environ.get("CI"):
        pytest.fail(NEEDED)
    pytest.skip(NEEDED)


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
