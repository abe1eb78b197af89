"""The command's verbs for resources and revisions against a real service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from tests.integration.conftest import Running
from usageflow.cli.main import app


class Command:
    """Runs the command as an administrator of a service."""

    def __init__(self, service: Running) -> None:
        self._environment = {
            "COLUMNS": "200",
            "USAGEFLOW_ADDR": service.address,
            "USAGEFLOW_API_KEY": service.credentials.api_key,
            "USAGEFLOW_ADMIN_TOKEN": service.credentials.admin_token,
        }

    async def run(self, *args: str, stdin: str = "") -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, args, input=stdin, env=self._environment)

    async def json(self, *args: str, stdin: str = "") -> Any:
        """Returns what a verb that succeeds prints as JSON."""
        done = await self.run(*args, "--output", "json", stdin=stdin)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def command(service: Running) -> Iterator[Command]:
    # The service logs to the standard output that the runner takes for the command's own.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield Command(service)
    structlog.reset_defaults()


POLICY = """
name: slow
match: {methods: [GET], path: /slow}
strategy: by-user
limits: [{limit: 5, window: 1m}]
"""


async def test_policies_come_from_snippets_and_go_back_into_them(command: Command) -> None:
    made = await command.json("policies", "create", "-f", "-", "--reason", "too slow", stdin=POLICY)
    assert (made["limits"][0]["window"], made["mode"], made["match"]["path"]) == ("1m", "ENFORCE", "/slow")
    shadow = await command.json("policies", "update", "slow", "--mode", "SHADOW")
    assert (shadow["mode"], shadow["limits"]) == ("SHADOW", made["limits"])
    snippet = (await command.run("policies", "get", "slow")).stdout
    assert "window: 1m" in snippet
    moved = await command.json(
        "policies", "update", "slow", "-f", "-", stdin=snippet.replace("path: /slow", "path: /slower")
    )
    assert (moved["match"], moved["mode"]) == ({"methods": ["GET"], "path": "/slower"}, "SHADOW")
    priced = await command.json(
        "policies", "update", "slow", "-f", "-", stdin='cost: "double(request.body.n)"'
    )
    assert priced["cost"] == "double(request.body.n)"
    listed = await command.json("policies", "list", "--filter", 'match.path = "/slow*"')
    assert [each["name"] for each in listed] == ["slow"]
    table = await command.run("policies", "list", "--limit", "1")
    assert (table.exit_code, "these are the first 1" in table.stderr) == (0, True)
    refused = await command.run("policies", "delete", "slow")
    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True)
    assert (await command.run("policies", "delete", "slow", "--yes")).stdout == "policy slow: deleted\n"
    assert (await command.run("policies", "undelete", "slow")).exit_code == 0


async def test_a_snippet_that_is_wrong_is_told_by_line(command: Command) -> None:
    wrong = await command.run("policies", "create", "-f", "-", stdin=POLICY.replace("limit: 5", "limt: 5"))
    assert wrong.exit_code == 1
    assert "<stdin>:5:" in wrong.stderr
    assert "did you mean 'limit'?" in wrong.stderr
    unknown = await command.run("policies", "create", "-f", "-", stdin=POLICY.replace("by-user", "nobody"))
    assert "<stdin>:4:" in unknown.stderr
    nothing = await command.run("policies", "update", "transactions")
    assert "nothing to change" in nothing.stderr
    assert "see `usageflow policies list`" in (await command.run("policies", "get", "nobody")).stderr


async def test_customers_are_entered_by_options(command: Command) -> None:
    made = await command.json(
        "customers", "create", "acme", "--identity", "u-1", "--identity", "u-2", "--stripe-customer", "cus_1"
    )
    assert (len(made["identities"]), made["stripe_customer"]) == (2, "cus_1")
    changed = await command.json("customers", "update", "acme", "--identity", "u-3")
    assert (len(changed["identities"]), changed["stripe_customer"]) == (1, "cus_1")
    found = await command.json("customers", "list", "--filter", 'identity = "u-3"')
    assert [each["name"] for each in found] == ["acme"]
    new = await command.json("customers", "update", "new", "--stripe-customer", "cus_2", "--allow-missing")
    assert new["name"] == "new"


async def test_blocks_endpoints_and_applications(command: Command) -> None:
    block = await command.json("blocks", "create", "--path", "/x", "--identity", "u", "--reason", "abuse")
    changed = await command.json("blocks", "update", block["id"], "--reason", "fraud")
    assert (changed["id"], changed["reason"]) == (block["id"], "fraud")
    route = await command.json("endpoints", "create", "GET /users/{id}")
    assert route["number"] > 0
    settings = await command.json("applications", "update", "demo", "--decision-log", "5")
    assert (settings["decision_log_percent"], settings["retention_days"]) == (5, 36)
    made = await command.json("applications", "create", "shop", "--retention-days", "90")
    assert (made["retention_days"], made["capture"]) == (90, "STANDARD")
    assert (await command.run("applications", "delete", "shop", "--yes")).exit_code == 0
    for verb in ("blocks", "endpoints", "applications", "strategies", "plans"):
        listed = await command.run(verb, "list")
        assert listed.exit_code == 0, listed.output


async def test_revisions_are_shown_compared_and_gone_back_to(command: Command) -> None:
    await command.run("revisions", "tag", "start")
    await command.json("policies", "create", "-f", "-", "--reason", "why not", stdin=POLICY)
    newest, first, *_ = await command.json("revisions", "list")
    assert (newest["message"], newest["current"], first["tags"]) == ("why not", True, ["start"])
    diff = await command.json("revisions", "diff")
    assert [(each["action"], each["name"]) for each in diff["differences"]] == [("CREATED", "slow")]
    assert (await command.run("revisions", "rollback", "start")).exit_code == 2
    back = await command.json("revisions", "rollback", "start", "--yes")
    assert [each["action"] for each in back["changes"]] == ["DELETED"]
    text = (await command.run("revisions", "get")).stdout
    assert text.startswith("version: 1\napplication: demo\n")
    applied = await command.run("apply", "-f", "-", stdin=text)
    assert "no changes" in applied.stdout
    assert (await command.run("revisions", "tag", "start", "--delete")).exit_code == 0
