"""Plans and customers through Apply: what is stored, told, refused and left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.causes import NOBODY
from tests.unit.admin.test_applying import Desk, declared, lines
from tests.unit.fakes import APPLICATION_KEY, customer, limit, plan, policy, strategy
from usageflow.domain.clock import ManualClock
from usageflow.domain.customers import Customer
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.policies import PolicySet
from usageflow.storage.sql import SqlControlStore, open_sqlite, prepare

ITEM = {"policy": "p", "limit": 5}
PLAIN = declared(policy("p", limits=[limit(1)], strategy="by-user"), strategies=(strategy(),))
PRO = PLAIN.model_copy(update={"plans": (plan("pro", **ITEM),)})


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = ManualClock()
    prepare(tmp_path / "usageflow.db", clock)
    database = open_sqlite(tmp_path / "usageflow.db")
    control = SqlControlStore(database, clock)
    await control.create_application("demo", [], cause=NOBODY)
    yield Desk(control)
    await database.close()


async def apply(desk: Desk, policies: PolicySet, *customers: Customer, **fields: bool) -> list[str]:
    return lines(await desk.apply(policies, customers=customers, **fields))


async def refused(desk: Desk, policies: PolicySet, *customers: Customer) -> list[str]:
    with pytest.raises(InvalidArgument) as error:
        await desk.apply(policies, customers=customers)
    return [str(fault) for fault in error.value.faults]


async def test_plans_are_part_of_the_revision(desk: Desk) -> None:
    await apply(desk, PLAIN)
    first = await desk.apply(PRO)
    assert (first.revision, lines(first)) == (2, ["CREATED plan pro"])
    better = PLAIN.model_copy(update={"plans": (plan("pro", policy="p", limit=6),)})
    assert await apply(desk, better) == ["UPDATED plan pro"]
    assert await apply(desk, PLAIN) == ["DELETED plan pro"]
    assert (await desk.state()).application.revision == 4


async def test_customers_alone_make_no_revision_and_no_new_plan_version(desk: Desk) -> None:
    await apply(desk, PRO)
    before = (await desk.state()).application
    acme = customer("acme", "v", "u", plan="pro", overrides=[{**ITEM, "identity": "u"}])
    assert await apply(desk, PRO, acme) == ["CREATED customer acme"]
    assert await apply(desk, PRO, acme.model_copy(update={"identities": ("u", "v")})) == []
    assert await apply(desk, PRO, customer("acme", "u")) == ["UPDATED customer acme"]
    assert (await desk.state()).application == before
    assert desk.notices.published == 3


async def test_identities_are_stored_by_hash_only(desk: Desk) -> None:
    await apply(desk, PRO, customer("acme", "u", overrides=[{**ITEM, "identity": "u"}]))
    hashed = keyed_hash(APPLICATION_KEY, "u").hex()
    application = (await desk.state()).application
    (kept,) = await desk.control.customers(application.application_id, ["acme"])
    assert (kept.identities, kept.overrides[0].identity) == ((hashed,), hashed)


async def test_customers_are_deleted_only_with_prune(desk: Desk) -> None:
    await apply(desk, PRO, customer("acme", "u"), customer("globex"))
    assert await apply(desk, PRO, customer("globex")) == []
    assert await apply(desk, PRO, customer("globex"), prune=True, validate_only=True) == [
        "DELETED customer acme"
    ]
    assert await apply(desk, PRO, customer("globex", "u"), prune=True) == [
        "DELETED customer acme",
        "UPDATED customer globex",
    ]


async def test_an_identity_of_a_customer_who_stays_is_refused(desk: Desk) -> None:
    await apply(desk, PRO, customer("acme", "u"))
    assert await refused(desk, PRO, customer("initech"), customer("globex", "x", "u")) == [
        (
            "customers[1].identities[1]: belongs to the customer 'acme' already; "
            "declare 'acme' here without it, or leave it out"
        )
    ]
    assert await apply(desk, PRO, customer("acme"), customer("globex", "u")) == [
        "CREATED customer globex",
        "UPDATED customer acme",
    ]


async def test_a_plan_stays_while_a_customer_is_on_it(desk: Desk) -> None:
    await apply(desk, PRO, customer("acme", plan="pro"))
    assert await refused(desk, PLAIN) == [
        (
            "plans: the plan 'pro' is missing, but the customer 'acme' is on it; "
            "keep the plan, or give 'acme' another one"
        )
    ]
    assert await apply(desk, PLAIN, customer("acme")) == ["DELETED plan pro", "UPDATED customer acme"]
    await apply(desk, PRO, customer("acme", plan="pro"))
    assert await apply(desk, PLAIN, prune=True) == ["DELETED plan pro", "DELETED customer acme"]


async def test_faults_of_plans_and_customers_come_with_all_others(desk: Desk) -> None:
    before = await desk.state()
    bad = PLAIN.model_copy(update={"plans": (plan("pro", policy="q", limit=1),)})
    assert await refused(desk, bad, customer("acme", plan="free")) == [
        "plans[0].overrides[0].policy: there is no policy 'q'; use one of p",
        "customers[0].plan: there is no plan 'free'; use one of pro",
    ]
    assert await desk.state() == before
