"""Notices by LISTEN/NOTIFY: ``announcing`` sends them with each change's commit, this hears them."""

from __future__ import annotations

from collections.abc import Callable

from usageflow.storage.notices import listen_for_ever
from usageflow.storage.sql.announcing import CHANNEL
from usageflow.storage.sql.postgres_address import PostgresAddress, parse_postgres_url

_LOOK_S = 30.0
"""After so long without a notice the connection is tried: a server that is gone for good says nothing."""

_CONNECT_S = 5


class PostgresRelay:
    """A Relay over a connection of its own. It needs one that is not pooled by transaction."""

    def __init__(self, url: str, tell: Callable[[], None]) -> None:
        """``tell`` is called for each notice. Raises InvalidArgument for an address that is none."""
        self._address: PostgresAddress = parse_postgres_url(url)
        self._tell = tell

    async def run(self) -> None:
        """See Relay."""
        await listen_for_ever(self._listen, self._tell, f"PostgreSQL, {self._address}")

    async def _listen(self, tell: Callable[[], None]) -> None:
        from psycopg import AsyncConnection

        defaults = {"connect_timeout": _CONNECT_S, "application_name": "usageflow notices"}
        parameters = {**defaults, **self._address.parameters}
        async with await AsyncConnection.connect(**parameters, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            tell()
            while True:
                async for _ in connection.notifies(timeout=_LOOK_S):
                    tell()
                await connection.execute(b"SELECT 1")
