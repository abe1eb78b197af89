"""The decision log of a real service: what it keeps, what it never keeps, and what a replay makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from admin.applying import Wanted
from tests.causes import NOBODY
from tests.integration.conftest import Running, serving
from usageflow.domain.decision_log import LoggedDecision
from usageflow.expressions import check
from usageflow.policyfile import load
from usageflow.runtime.rehearsal import snapshot_of_file
from usageflow.runtime.replay import Replay
from usageflow.storage.file import decode
from usageflow.storage.sql.tables import DECISION_LOG
from usageflow.v1 import admin_pb2, common_pb2, decision_log_pb2, decision_pb2

POLICIES = """\
version: 1
application: demo
strategies:
  - name: by-key
    sources:
      - {in: header, name: X-Api-Key}
      - {in: cookie, name: sid}
      - {join: [{in: header, name: X-Tenant}, {in: body, name: user.ssn, sensitive: true}]}
      - {in: path, name: reset, sensitive: true}
      - {in: header, name: X-User}
policies:
  - name: everything
    match: {path: /*}
    strategy: by-key
    condition: request.body.model != "free"
    limits: [{limit: 3, window: 1h}]
"""

SECRETS = (
    "key-SECRET",
    "cookie-SECRET",
    "ssn-SECRET",
    "reset-SECRET",
    "bearer-SECRET",
    "body-SECRET",
    "query-SECRET",
)

Attribute = common_pb2.Attribute


def attribute(location: str, name: str, value: str) -> Attribute:
    kind = common_pb2.AttributeLocation.Value(f"ATTRIBUTE_LOCATION_{location}")
    return Attribute(location=kind, name=name, value=value)


@pytest.fixture
async def logging(tmp_path: Path) -> AsyncIterator[Running]:
    """A service whose application opted in to a log of everything."""
    async with serving(tmp_path) as running:
        await apply(running, POLICIES)
        await log_of(running, 100)
        yield running


async def apply(service: Running, policies: str) -> None:
    loaded = load(policies, filename="p.yaml", check=check)
    await service.embedded.applying.apply(
        Wanted("demo", loaded.policy_set, loaded.blocks, loaded.customers), NOBODY
    )
    await service.embedded.decision.snapshots.refresh()


async def log_of(service: Running, percent: int) -> None:
    statement = text("UPDATE applications SET decision_log_percent = :p, plan_version = plan_version + 1")
    await service.embedded.database.write(
        lambda connection: connection.execute(statement, {"p": percent}).close()
    )
    await service.embedded.decision.snapshots.refresh()


async def ask(
    service: Running, *attributes: Attribute, path: str = "/a", **fields: object
) -> decision_pb2.CheckResponse:
    request = decision_pb2.HttpRequest(method="POST", path=path, attributes=attributes, **fields)  # type: ignore[arg-type]
    return await service.decision.Check(decision_pb2.CheckRequest(request=request), metadata=service.as_app)


async def logged(service: Running) -> list[LoggedDecision]:
    logger = service.embedded.decision.logger
    assert logger is not None
    await logger.flush()
    rows = await service.embedded.database.read(
        lambda connection: connection.execute(select(DECISION_LOG.c.document)).scalars().all()
    )
    assert len(rows) == len([each async for page in pages(service) for each in page.decisions])
    store = service.embedded.plane.logged
    return [each async for page in store.read("demo", since_us=0, until_us=None) for each in page]


def pages(service: Running) -> AsyncIterator[decision_log_pb2.ListDecisionsResponse]:
    request = decision_log_pb2.ListDecisionsRequest(application="demo")
    return service.admin.ListDecisions(request, metadata=service.as_admin)  # type: ignore[return-value]


async def test_no_secret_is_kept(logging: Running) -> None:
    header = attribute("HEADER", "X-Api-Key", "key-SECRET")
    other = [
        attribute("HEADER", "Authorization", "Bearer bearer-SECRET"),
        attribute("HEADER", "X-Unread", "bearer-SECRET"),
        attribute("COOKIE", "sid", "cookie-SECRET"),
        attribute("HEADER", "Cookie", "sid=cookie-SECRET; other=cookie-SECRET"),
        attribute("BODY", "user.ssn", "ssn-SECRET"),
        attribute("BODY_JSON", "user.ssn", '"ssn-SECRET"'),
        attribute("BODY_JSON", "prompt", '"body-SECRET"'),
        attribute("BODY_JSON", "model", '"small"'),
        attribute("QUERY", "token", "query-SECRET"),
    ]
    await ask(logging, header, *other)
    await ask(logging, *other, attribute("HEADER", "X-Tenant", "acme"), path="/a?token=query-SECRET")
    await ask(logging, route="/reset/{reset}", path_parameters={"reset": "reset-SECRET"})
    found = await logged(logging)
    assert [each.identity.startswith("hash:") for each in found] == [True] * 3
    rows = await logging.embedded.database.read(
        lambda connection: str(connection.execute(select(DECISION_LOG)).all())
    )
    sent = str([page async for page in pages(logging)])
    for secret in SECRETS:
        assert secret not in rows
        assert secret not in sent
    assert (("body_json", "model"), '"small"') in found[0].values
    assert found[2].hidden == ("reset",)
    assert not found[2].parameters


async def test_nothing_is_kept_unless_the_application_opts_in(logging: Running) -> None:
    await log_of(logging, 0)
    await ask(logging, attribute("HEADER", "X-User", "bob"))
    assert await logged(logging) == []


async def test_a_share_of_callers_is_kept_whole(logging: Running) -> None:
    await log_of(logging, 50)
    for number in range(40):
        for _ in range(2):
            await ask(logging, attribute("HEADER", "X-User", f"u{number}"))
    found = await logged(logging)
    kept = {each.identity for each in found}
    assert 8 <= len(kept) <= 32
    assert len(found) == 2 * len(kept)
    assert {each.percent for each in found} == {50}


async def test_batches_are_kept_as_single_checks_are(logging: Running) -> None:
    request = decision_pb2.HttpRequest(
        method="POST", path="/a", attributes=[attribute("HEADER", "X-User", "bob")]
    )
    batch = decision_pb2.BatchCheckRequest(items=[decision_pb2.CheckItem(request=request)] * 5)
    answer = await logging.decision.BatchCheck(batch, metadata=logging.as_app)
    found = await logged(logging)
    assert [each.allowed for each in found] == [
        result.decision == common_pb2.DECISION_ALLOW for result in answer.results
    ]
    assert [each.allowed for each in found] == [True, True, True, False, False]
    assert {each.identity for each in found} == {"bob"}


async def test_a_stricter_file_is_replayed_over_the_log(logging: Running) -> None:
    for user in ("bob", "bob", "amy"):
        await ask(logging, attribute("HEADER", "X-User", user), attribute("BODY_JSON", "model", '"small"'))
    stricter = POLICIES.replace("limit: 3", "limit: 1") + (
        "  - name: tiers\n    match: {path: /b}\n    condition: request.headers['x-tier'] == 'gold'\n"
        "    limits: [{limit: 1, window: 1h, scope: SHARED}]\n"
    )
    await ask(logging, attribute("HEADER", "X-User", "amy"), path="/b")
    answers = [
        each.data
        async for each in logging.admin.ExportSnapshot(
            admin_pb2.ExportSnapshotRequest(application="demo"), metadata=logging.as_admin
        )
    ]
    (live,) = decode(b"".join(answers), check)
    replay = Replay(snapshot_of_file(load(stricter, filename="p.yaml", check=check), live))
    for each in await logged(logging):
        await replay.decide(each)
    told = replay.replayed
    assert [(each.group.identity, each.reason) for each in told.newly_denied] == [("bob", "LIMIT_EXCEEDED")]
    assert dict(told.undecidable) == {"header x-tier was not kept: no policy read it": 1}
    assert (told.requests, told.decided, told.newly_allowed) == (4, 3, [])


async def test_an_older_revision_is_exported_over_todays_customers(logging: Running) -> None:
    revision = (await logging.embedded.control.find_application("demo")).revision  # type: ignore[union-attr]
    await apply(logging, "version: 1\napplication: demo\ncustomers: [{name: acme, identities: [u]}]\n")
    request = admin_pb2.ExportSnapshotRequest(application="demo", revision=revision)
    answers = [each async for each in logging.admin.ExportSnapshot(request, metadata=logging.as_admin)]
    (live,) = decode(b"".join(each.data for each in answers), check)
    assert {each.revision for each in answers} == {revision}
    assert [policy.name for policy in live.state.policies.policies] == ["everything"]
    assert [each.name for each in live.customers] == ["acme"]
