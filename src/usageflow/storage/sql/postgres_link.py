"""A connection to PostgreSQL that never waits for ever. The only module that needs the driver."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.abc import RV, PQGen

from usageflow.storage.sql.postgres_address import PostgresAddress

_INTERVAL_S = 0.1
"""How often the driver looks up from waiting."""

_MARGIN_S = 2.0
"""How much longer we wait than the server may take, so that its own word on a slow statement still arrives."""

_SESSION = (
    "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),"
    " set_config('idle_in_transaction_session_timeout', %s, false),"
    # Our statements are short; compiling one of many conditions takes a second, its work a millisecond.
    " set_config('jit', 'off', false),"
    # An answer of OK means that it is durable, whatever the server's default is.
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)"
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds: to connect to a host, one statement, waiting for one lock, and what stands idle in a
    transaction (a process that is stopped there would hold its locks for ever). 0 means any time.
    """

    connect_s: int = 5
    statement_s: float = 10.0
    lock_s: float = 5.0
    idle_s: float = 10.0


class Link(psycopg.Connection[Any]):
    """A connection whose every wait ends: a server that is frozen or unplugged sends no error of its own."""

    wait_s: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL_S, timeout: float | None = None) -> RV:
        """Waits as psycopg does, for at most ``wait_s`` seconds; then it closes and raises OperationalError."""
        limit_s = self.wait_s if timeout is None else timeout
        began = time.monotonic()
        try:
            return super().wait(gen, interval, limit_s)
        except psycopg.OperationalError:
            if timeout is None and limit_s is not None and time.monotonic() - began >= limit_s:
                self.close()  # half an answer may still come: nobody must take it for the next one's
            raise


def connect(address: PostgresAddress, patience: Patience, *, read_only: bool) -> Link:
    """Returns a new connection; its transactions read committed rows, or are REPEATABLE READ READ ONLY.

    Raises psycopg.Error.
    """
    defaults: dict[str, Any] = {
        "connect_timeout": patience.connect_s,
        "application_name": "usageflow",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    parameters = {**defaults, **address.parameters, "client_encoding": "utf8"}
    link = Link.connect(**parameters, autocommit=True)
    try:
        _set_up(link, patience, read_only=read_only)
    except BaseException:
        link.close()
        raise
    return link


def _set_up(link: Link, patience: Patience, *, read_only: bool) -> None:
    link.wait_s = patience.statement_s + _MARGIN_S if patience.statement_s else None
    times = (patience.statement_s, patience.lock_s, patience.idle_s)
    link.execute(_SESSION, [str(round(seconds * 1000)) for seconds in times]).close()
    link.autocommit = False
    link.isolation_level = IsolationLevel.REPEATABLE_READ if read_only else IsolationLevel.READ_COMMITTED
    link.read_only = read_only
