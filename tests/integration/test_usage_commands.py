"""The command's verbs about usage against a real service."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.integration.conftest import Running
from tests.integration.test_admin_commands import Command, command
from tests.integration.test_overrides import CUSTOMERS, FILE, apply, limit_of
from tests.integration.test_stored_events import report

__all__ = ["command"]


@pytest.fixture
async def used(service: Running) -> Running:
    """Customer acme's ann made two requests, one of them in vain; eve one."""
    await apply(service, FILE + CUSTOMERS)
    await limit_of(service, "ann")
    await report(service, "ann", "e1")
    await report(service, "ann", "e2", status=500)
    await report(service, "eve", "e3")
    return service


async def test_usage(used: Running, command: Command) -> None:
    (row,) = await command.json("usage")
    assert (row["endpoint"], row["requests"], row["errors"]) == ("GET /a", 3, 1)
    steps = await command.json("usage", "--by", "minute")
    assert sum(step["requests"] for step in steps) == 3


async def test_top(used: Running, command: Command) -> None:
    done = await command.run("top", "--once")
    assert done.exit_code == 0, done.output
    assert "GET /a" in done.stdout
    line = await command.run("top", "--once", "--output", "json")
    assert json.loads(line.stdout)["rows"][0]["requests"] == 3


async def test_tail(used: Running, command: Command) -> None:
    done = await command.run("tail", "--count", "2", "--customer", "acme", "--output", "json")
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["event_id"] for line in done.stdout.splitlines()] == ["e1", "e2"]
    line = (await command.run("tail", "--count", "1", "--identity", "eve")).stdout
    assert line.endswith("eve  allowed\n")


async def test_customer(used: Running, command: Command) -> None:
    done = await command.run("customer", "acme")
    assert done.exit_code == 0, done.output
    assert "plan pro" in done.stdout
    assert "1 of 10  p/hourly" in done.stdout
    document = await command.json("customer", "acme")
    assert document["today"] is not None
    assert [row["limit_name"] for row in document["headroom"]] == ["hourly"]
    assert (document["blocks"], document["bill"]["lines"]) == ([], [])
    assert (await command.run("customer", "nobody")).exit_code == 1


async def test_export(used: Running, command: Command) -> None:
    done = await command.run("export", "--what", "events", "--status", "200")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["event_id"], row["identity"], row["status"]) for row in rows] == [
        ("e1", "ann", "200"),
        ("e3", "eve", "200"),
    ]
    usage = await command.run("export", "--what", "usage", "--format", "jsonl")
    assert json.loads(usage.stdout)["requests"] == 3
    assert "strategies:" in (await command.run("export")).stdout
