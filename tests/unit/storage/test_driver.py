from __future__ import annotations

from sqlalchemy import Connection

from usageflow.storage.sql import open_postgres
from usageflow.storage.sql.driver import Rows, fetch

MORE_THAN_A_DRIVER_WAITS = 12


async def test_postgresql_plans_each_question_for_its_values(postgres_url: str) -> None:
    database = open_postgres(postgres_url)

    def ask(connection: Connection) -> Rows:
        for number in range(MORE_THAN_A_DRIVER_WAITS):
            assert fetch(connection, "SELECT ?::bigint + 1", (number,)) == [(number + 1,)]
        return fetch(connection, "SELECT statement FROM pg_prepared_statements")

    assert await database.read(ask) == []
    await database.close()
