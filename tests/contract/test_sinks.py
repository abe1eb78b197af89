"""What holds of destinations that take units as they are: files and CloudEvents."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.sinks import Level, Payer, Sink
from meter.sinks.cloud_events import CloudEventsSink
from meter.sinks.files import FileSink
from tests.unit.fakes import steady
from usageflow.domain.billing import Held, Part, PartKind, PartState, Result, Target, Window
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import LateUsage, Trigger

NOW = 1_700_000_000_000_000
DAY_US = 86_400_000_000
TARGET = Target(Trigger.STRIPE_USAGE, "price_1", "calls")
WINDOW = Window(1_699_999_200, 1_700_002_800)


class Receiver:
    """A WebhookSender that keeps what came, once per id, as receivers of CloudEvents do."""

    def __init__(self) -> None:
        self.status = 202
        self.events: dict[str, Any] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        assert headers["Content-Type"] == "application/cloudevents+json"
        if not self.status:
            raise Unavailable("nobody answers")
        event = json.loads(body)
        self.events[event["id"]] = event["data"]
        return self.status


def lines(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("usage-*")):
        text = path.read_text()
        rows = (
            csv.DictReader(text.splitlines()) if path.suffix == ".csv" else map(json.loads, text.splitlines())
        )
        found += [dict(row) for row in rows]
    return found


Place = tuple[Sink, Callable[[], list[dict[str, Any]]]]


@pytest.fixture(params=["jsonl", "csv", "cloudevents"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "cloudevents":
        receiver = Receiver()
        return CloudEventsSink("https://example.test/usage", receiver), lambda: list(receiver.events.values())
    return FileSink(tmp_path / f"usage.{request.param}"), lambda: lines(tmp_path)


async def part(sink: Sink, name: str, units: str = "2.5", customer: str = "acme") -> Part:
    found = await sink.terms(Payer(customer, ""), TARGET, WINDOW, LateUsage.HOLD, now_us=NOW)
    assert not isinstance(found, Held)
    terms = found[0].terms
    assert not isinstance(terms, Held)
    value = Decimal(units)
    return Part(
        1, "app", customer, TARGET, WINDOW, 1, PartKind.USAGE, 3, value, value, f"uf1_{name}", terms, PartState.SENDING, 1
    )  # fmt: skip


async def test_each_part_is_there_once_with_its_units(place: Place) -> None:
    sink, taken = place
    for name, units in (("a", "2.5"), ("b", "-1"), ("c", "0.000000000001")):
        sent = await part(sink, name, units)
        for attempt in (1, 2):
            assert (await sink.send(replace(sent, attempts=attempt), now_us=NOW)).result is Result.TAKEN
    assert [(row["identifier"], row["units"]) for row in taken()] == [
        ("uf1_a", "2.5"),
        ("uf1_b", "-1"),
        ("uf1_c", "0.000000000001"),
    ]
    assert {row["customer"] for row in taken()} == {"acme"}


async def test_nothing_is_looked_up_and_nothing_taken_back(place: Place) -> None:
    sink, _ = place
    assert not sink.needs_mapping
    assert {each.level for each in await sink.check([TARGET])} == {Level.OK}
    assert (await sink.cancel(await part(sink, "a"), now_us=NOW)).result is Result.REFUSED
    assert await sink.reckoned([("acme", TARGET)], WINDOW) == []
    await sink.close()


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
async def test_a_day_has_a_file_and_what_yesterday_has_is_not_written_again(
    tmp_path: Path, suffix: str
) -> None:
    sink = FileSink(tmp_path / f"usage.{suffix}")
    sent = await part(sink, "a")
    await sink.send(sent, now_us=NOW)
    await sink.send(replace(sent, attempts=2), now_us=NOW + DAY_US)
    await sink.send(await part(sink, "b"), now_us=NOW + DAY_US)
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == [f"usage-2023-11-14.{suffix}", f"usage-2023-11-15.{suffix}"]
    assert [row["identifier"] for row in lines(tmp_path)] == ["uf1_a", "uf1_b"]


async def test_half_a_line_that_a_kill_left_is_cut_off(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "usage.jsonl")
    first, second = await part(sink, "a"), await part(sink, "b")
    await sink.send(first, now_us=NOW)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    await sink.send(second, now_us=NOW)
    for length in range(len(whole), len(path.read_bytes())):
        torn = path.read_bytes()[:length]
        path.write_bytes(torn)
        await FileSink(tmp_path / "usage.jsonl").send(replace(second, attempts=2), now_us=NOW)
        assert [row["identifier"] for row in lines(tmp_path)] == ["uf1_a", "uf1_b"]


async def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sink = FileSink(tmp_path / "file" / "usage.jsonl")
    assert (await sink.send(await part(sink, "a"), now_us=NOW)).result is Result.AGAIN


@steady
@given(st.text(min_size=1, max_size=20))
async def test_any_name_is_a_field_of_one_line(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    folder = tmp_path_factory.mktemp("lines")
    sink = FileSink(folder / "usage.jsonl")
    await sink.send(await part(sink, "a", customer=name), now_us=NOW)
    assert [
        row["customer"] for row in map(json.loads, (next(folder.iterdir())).read_bytes().splitlines())
    ] == [name]


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (0, Result.UNKNOWN),
        (200, Result.TAKEN),
        (204, Result.TAKEN),
        (400, Result.REFUSED),
        (401, Result.DENIED),
        (403, Result.DENIED),
        (408, Result.AGAIN),
        (429, Result.AGAIN),
        (500, Result.UNKNOWN),
        (503, Result.UNKNOWN),
    ],
)
async def test_an_http_answer_means_one_thing(status: int, result: Result) -> None:
    receiver = Receiver()
    receiver.status = status
    sink = CloudEventsSink("https://example.test/usage", receiver)
    assert (await sink.send(await part(sink, "a"), now_us=NOW)).result is result
