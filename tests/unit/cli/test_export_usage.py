from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cli.test_tail import event
from tests.unit.fakes import steady
from usageflow.cli.event_rows import COLUMNS
from usageflow.cli.export_usage import Format, cell_of, pieces_of
from usageflow.v1.analytics_pb2 import ListEventsResponse, QueryUsageResponse, UsageRow


def pages() -> list[ListEventsResponse]:
    first = ListEventsResponse(events=[event("a"), event("=b", identity="@x")], total=3)
    return [first, ListEventsResponse(events=[event("c", path='/a,"b"\n')])]


def test_events_as_csv(run: Any, service: Any, tmp_path: Path) -> None:
    service.will("ListEvents", pages(), pages())
    result = run("export", "--what", "events", "--since", "7d", "--status", "5xx")
    assert result.exit_code == 0, result.output
    rows = list(csv.reader(io.StringIO(result.stdout)))
    assert tuple(rows[0]) == COLUMNS
    assert [row[1] for row in rows[1:]] == ["a", "'=b", "c"]
    assert (rows[2][5], rows[3][4], rows[1][-1]) == ("'@x", '/a,"b"\n', "{}")
    assert list(service.requests[0].filter.statuses) == [5]
    to_file = run("export", "--what", "events", "--file", "events.csv")
    assert (to_file.stdout, to_file.stderr) == ("", "wrote events.csv\n")
    assert (tmp_path / "events.csv").read_bytes() == result.stdout_bytes
    assert (tmp_path / "events.csv").stat().st_mode & 0o777 == 0o600


def test_events_as_json_lines(run: Any, service: Any) -> None:
    service.will("ListEvents", pages())
    lines = run("export", "--what", "events", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["event_id"] for line in lines] == ["a", "=b", "c"]


def test_usage_as_rows(run: Any, service: Any) -> None:
    rows = QueryUsageResponse(rows=[UsageRow(status=404, customer="-acme", requests=3, units="1.50")])
    service.will("QueryUsage", rows, rows)
    arguments = ("export", "--what", "usage", "--by", "customer", "--by", "status")
    header, row = csv.reader(io.StringIO(run(*arguments).stdout))
    assert header[:6] == ["customer", "status", "requests", "errors", "denied", "units"]
    assert row[:6] == ["'-acme", "404", "3", "0", "0", "1.5"]
    assert json.loads(run(*arguments, "--format", "jsonl").stdout)["customer"] == "-acme"


def test_a_break_leaves_no_half_file(run: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("old", encoding="utf-8")

    def broken(_: Any) -> Any:
        yield pages()[0]
        raise RuntimeError("gone")

    service.will("ListEvents", broken)
    result = run("export", "--what", "events", "--file", "events.csv")
    assert result.exit_code == 1
    assert [(each.name, each.read_text(encoding="utf-8")) for each in tmp_path.iterdir()] == [
        ("events.csv", "old")
    ]


def test_what_does_not_go_together_is_said(run: Any, service: Any) -> None:
    result = run("export", "--what", "events", "--revision", "3")
    assert (result.exit_code, "it goes with policies only" in result.stderr) == (2, True)
    service.fails("ListEvents", grpc.StatusCode.NOT_FOUND, "there is no customer 'x'")
    assert run("export", "--what", "events", "--customer", "x").exit_code == 1
    service.will("ListEvents", [ListEventsResponse()])
    nowhere = run("export", "--what", "events", "--file", "no/such/folder.csv")
    assert "name a file in a folder that exists" in nowhere.stderr


@steady
@given(texts=st.lists(st.text(), min_size=1, max_size=5))
def test_no_text_becomes_a_formula_and_none_is_lost(texts: list[str]) -> None:
    names = [f"c{index}" for index in range(len(texts))]
    data = b"".join(pieces_of([dict(zip(names, texts, strict=True))], names, Format.CSV))
    _, row = csv.reader(io.StringIO(data.decode(), newline=""))
    for text, cell in zip(texts, row, strict=True):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell in (text, f"'{text}")


def test_numbers_stay_numbers() -> None:
    assert [cell_of(each) for each in (None, True, -5, 1.5, Decimal("2.50"), {"a": 1})] == [
        "",
        "true",
        "-5",
        "1.5",
        "2.5",
        '{"a": 1}',
    ]
