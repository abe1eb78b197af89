from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tools.prove.kept_places import files_under, tables_of_sqlite
from tools.prove.planted import PLANTED, Leak, Place, found_in, leaks, unread

SPELT: dict[str, Callable[[str], str]] = {
    "raw": str,
    "in capitals": str.upper,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "as in a form": quote_plus,
    "in JSON": json.dumps,
    "in hex": lambda secret: secret.encode().hex(),
    "in base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "in base64 of URLs": lambda secret: base64.urlsafe_b64encode(f"user:{secret}".encode()).decode(),
    "in base64 behind one": lambda secret: base64.b64encode(f"x{secret}y".encode()).decode(),
    "in base64 behind two": lambda secret: base64.b64encode(f"xy{secret}yz".encode()).decode(),
}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("how", SPELT)
def test_a_secret_is_found_however_it_is_spelt(name: str, how: str) -> None:
    data = f"before {SPELT[how](PLANTED[name])} behind".encode()
    assert name in found_in(data, PLANTED)


def test_what_is_masked_is_not_found() -> None:
    assert found_in(b"Bearer *** sk_*** page=7 planted", PLANTED) == []


def test_a_leak_is_told_unless_the_place_must_hold_the_secret() -> None:
    places = [Place("table a", b"S3CRET"), Place("table b", b"S3CRET"), Place("table c", b"")]
    found = leaks(places, {"key": "S3CRET"}, {"key": ("table b",)})
    assert found == [Leak("table a", "key")]
    assert str(found[0]) == "key in table a"


def test_a_place_that_nobody_read_is_told() -> None:
    places = [Place("table a", b"page=7"), Place("redis keys", b"")]
    markers = {"table": "page=7", "redis keys": "hourly", "output": "ready"}
    assert unread(places, markers) == ["redis keys", "output"]


def test_every_column_of_every_table_and_every_file_is_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("CREATE TABLE first (number, text, bytes)")
        connection.execute("CREATE TABLE second (text)")
        connection.execute("INSERT INTO first VALUES (7, 'told', ?)", (b"\xffkept",))
        connection.execute("INSERT INTO second VALUES ('other')")
    tables = {place.name: place.data for place in tables_of_sqlite(tmp_path / "a.db")}
    assert tables == {"table first": b"7\ntold\n\xffkept", "table second": b"other"}
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b").write_bytes(b"deep")
    assert Place("file below/b", b"deep") in list(files_under(tmp_path))
