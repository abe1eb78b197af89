"""Ways in which a real Redis goes wrong, each with how it is mended. A fault is used in a ``with`` block that starts its servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tools.processes import ProcessFailed, free_port
from tools.redis_servers import SLOTS, RedisCluster, RedisServer

_KEY = "uf:{p0}:epoch"
"""A key of the counters: all of one Redis's are in its slot."""

_LOADED_KEYS, _KEY_BYTES = 20_000, 1024
_SLOW_LOADING = (
    *(
        "--rdbcompression",
        "no",
    ),  # or else a key is shorter than the bytes after which it looks at its clients
    *("--key-load-delay", "1000"),  # microseconds: half a minute altogether, unless it is told to hurry
    *("--loading-process-events-interval-bytes", "1024"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A Redis at ``url``, how it is broken, and how it is mended; ``mend`` returns once it answers again.

    ``loses`` tells that the counters are gone by then.
    """

    url: str
    begin: Callable[[], None]
    mend: Callable[[], None]
    loses: bool = False


@contextmanager
def stopped() -> Iterator[Fault]:
    """SIGSTOP: connections stay open and nothing is answered."""
    with RedisServer() as server:
        yield Fault(server.url, server.pause, server.resume)


@contextmanager
def killed() -> Iterator[Fault]:
    """SIGKILL, and a start without data on the same port."""
    with RedisServer() as server:
        yield Fault(server.url, server.kill, server.restart, loses=True)


@contextmanager
def loading() -> Iterator[Fault]:
    """A restart that reads its data for seconds: -LOADING."""
    with RedisServer(*_SLOW_LOADING) as server:

        def begin() -> None:
            with server.client() as client:
                client.execute_command("DEBUG", "POPULATE", _LOADED_KEYS, "filler", _KEY_BYTES)
                client.save()
            server.kill()
            server.start()

        def mend() -> None:
            with server.client() as client:
                client.config_set("key-load-delay", 0)
            server.wait_ready()

        yield Fault(server.url, begin, mend)


@contextmanager
def read_only() -> Iterator[Fault]:
    """A replica of a primary that is not there: -READONLY."""
    with RedisServer() as server, server.client() as client:
        yield Fault(
            server.url,
            lambda: client.execute_command("REPLICAOF", "127.0.0.1", free_port()),
            lambda: client.execute_command("REPLICAOF", "NO", "ONE"),
        )


@contextmanager
def cluster_down() -> Iterator[Fault]:
    """A node of a cluster that loses all slots and gets them back: -CLUSTERDOWN."""
    with RedisServer(cluster=True) as server, server.client() as client:

        def serve_slots() -> None:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            _wait_for_slots(server)

        serve_slots()
        yield Fault(
            server.url, lambda: client.execute_command("CLUSTER", "DELSLOTSRANGE", 0, SLOTS - 1), serve_slots
        )


@contextmanager
def moved() -> Iterator[Fault]:
    """A node whose slot goes to another one, and comes back empty: -MOVED."""
    with RedisCluster(2) as cluster:
        first, second = cluster.nodes
        with first.client() as here, second.client() as there:
            slot = int(here.execute_command("CLUSTER", "KEYSLOT", _KEY))
            names = [str(node.execute_command("CLUSTER", "MYID").decode()) for node in (here, there)]
            clients, own = (here, there), int(slot >= SLOTS // 2)

            def give(owner: int) -> None:
                for client in (clients[owner], clients[1 - owner]):
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[owner])

            def begin() -> None:
                clients[own].flushall()  # a slot with keys is not given away
                give(1 - own)

            yield Fault(cluster.nodes[own].url, begin, lambda: give(own), loses=True)


def _wait_for_slots(server: RedisServer) -> None:
    deadline = time.monotonic() + 15
    with server.client() as client:
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            if time.monotonic() > deadline:
                raise ProcessFailed("the node does not serve its slots")
            time.sleep(0.01)
