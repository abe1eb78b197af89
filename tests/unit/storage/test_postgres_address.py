from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.domain.errors import InvalidArgument
from usageflow.storage.sql import open_postgres, parse_postgres_url

SECRET = "correct-horse"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ann:s3cret@db.internal:6432/usage", "usage on db.internal:6432"),
        ("postgres://ann@db/usage?sslmode=verify-full&sslrootcert=/ca.pem", "usage on db"),
        (
            "postgresql://one:5432,two:5433/usage?target_session_attrs=read-write",
            "usage on one,two:5432,5433",
        ),
        ("postgresql:///usage?host=/run/postgresql", "usage on /run/postgresql"),
        ("postgresql:///usage", "usage on the local socket"),
        ("postgresql://ann:a%40b%2Fc%3Fd@[::1]:5432/usage", "usage on ::1:5432"),
    ],
)
def test_an_address_shows_its_place(url: str, place: str) -> None:
    assert str(parse_postgres_url(url)) == place


def test_an_address_holds_what_the_driver_needs_and_does_not_show_it() -> None:
    address = parse_postgres_url(f"postgresql://ann:{SECRET}@db:5432/usage?sslmode=require")
    expected = {"user": "ann", "password": SECRET, "host": "db", "port": "5432", "dbname": "usage"}
    assert address.parameters == expected | {"sslmode": "require"}
    assert SECRET not in f"{address} {address!r}"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "is no address of PostgreSQL"),
        (f"mysql://ann:{SECRET}@db/usage", "is no address of PostgreSQL"),
        (f"postgresql+psycopg://ann:{SECRET}@db/usage", "is no address of PostgreSQL"),
        (f"host=db password={SECRET}", "is no address of PostgreSQL"),
        (f"postgresql://ann:{SECRET}@db", "names no database"),
        (f"postgresql://ann:{SECRET}@db:0/usage", "names a port"),
        (f"postgresql://ann:{SECRET}@db:54x/usage", "names a port"),
        (f"postgresql://ann:{SECRET}@db/usage?sslmode=maybe", "names an sslmode"),
        (f"postgresql://ann:{SECRET}@db/usage?nonsense=1", "cannot be read"),
        (f"postgresql://ann:100%{SECRET}@db/usage", "cannot be read"),
        (f"postgresql://ann:a@{SECRET}@db/usage", "a character of its own meaning"),
        (f"postgresql://ann:a/{SECRET}@db/usage", "a character of its own meaning"),
        (f"postgresql://ann:{SECRET}\n@db/usage", "a character of its own meaning"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(url: str, told: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        open_postgres(url)
    (fault,) = raised.value.faults
    assert fault.field == "USAGEFLOW_DATABASE_URL"
    assert told in fault.message
    assert fault.fix
    assert SECRET not in str(raised.value)


_PARTS = st.lists(
    st.sampled_from(
        [
            "postgres://",
            "postgresql://",
            "@",
            ":",
            "/",
            "?",
            "&",
            "=",
            "%",
            "%40",
            "[",
            "]",
            ",",
            "5432",
            "host",
        ]
    )
    | st.text(max_size=5),
    max_size=12,
)


@given(_PARTS.map("".join), st.booleans())
def test_any_text_is_an_address_or_a_fault(text: str, prefixed: bool) -> None:
    with suppress(InvalidArgument):
        address = parse_postgres_url(f"postgresql://{text}" if prefixed else text)
        assert address.parameters["dbname"]
        assert str(address)
