"""The cases of `make prove` about the decision engine, small: the same code with real processes, less of everything."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from tools.prove.cases import takers
from tools.prove.showing import NotShown
from tools.prove.stores import MEMORY, Store, on_each, settings_for
from tools.redis_servers import RedisServer


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MEMORY
    server: RedisServer = request.getfixturevalue("redis_server")
    return Store("redis", 2, lambda: nullcontext(server))


def test_a_store_that_is_not_built_in_is_said() -> None:
    def show(store: Store) -> str:
        return ",".join(settings_for(f"{store.name}://127.0.0.1:1"))

    stores = [Store(name, 1, nullcontext) for name in ("redis", "carrier-pigeon")]
    with pytest.raises(NotShown, match="carrier-pigeon is not built in"):
        on_each(stores, show)


def test_concurrent_takers(tmp_path: Path, store: Store) -> None:
    figure = takers.show_takers(tmp_path, store, takers.Size(takers=12, units=20))
    assert "20 of 48 requests admitted, 980 of 1000 left of each sibling" in figure
