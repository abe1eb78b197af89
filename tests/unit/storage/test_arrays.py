from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from usageflow.domain.errors import InvalidArgument
from usageflow.storage.sql import Database, open_postgres
from usageflow.storage.sql.arrays import array_text, columns_of
from usageflow.storage.sql.driver import fetch

CASES: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("bigint", st.none() | st.integers(-(2**63), 2**63 - 1)),
    ("boolean", st.none() | st.booleans()),
    ("bytea", st.none() | st.binary()),
    (
        "text",
        st.none()
        | st.sampled_from(["", "NULL", "{}", 'a"b', "\\", "a,b", "\n"])
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    ),
]


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    opened = open_postgres(postgres_url)
    yield opened
    await opened.close()


async def _read_back(database: Database, kind: str, values: list[Any]) -> list[Any]:
    def ask(connection: Connection) -> list[Any]:
        rows = fetch(connection, f"SELECT unnest(?::{kind}[])", (array_text(values),))
        return [value for (value,) in rows]

    return await database.read(ask)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(CASES).flatmap(lambda case: st.tuples(st.just(case[0]), st.lists(case[1], min_size=1)))
)
async def test_postgresql_reads_an_array_as_it_was(database: Database, column: tuple[str, list[Any]]) -> None:
    kind, values = column
    assert await _read_back(database, kind, values) == values


@pytest.mark.parametrize(("kind", "value"), [("bigint", 2**63), ("text", "\0"), ("text", "\ud800")])
async def test_what_no_column_holds_is_refused(database: Database, kind: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match="out of bounds"):
        await _read_back(database, kind, [value])


def test_each_column_is_an_array() -> None:
    assert columns_of([(1, "a"), (2, None)]) == ("{1,2}", '{"a",NULL}')
