from __future__ import annotations

from typing import Any

import pytest

from tests.unit.fakes import customer, limit, plan, policy, strategy
from usageflow.domain.customers import Customer
from usageflow.domain.policies import CustomerPlan, PolicySet
from usageflow.domain.validation import validate

LIMITS = [
    limit(100, name="hourly"),
    limit(100, name="burst", algorithm="TOKEN_BUCKET", burst=10),
    limit(9, name="all", scope="SHARED"),
]
POLICIES = (
    policy("transactions", limits=LIMITS, strategy="by-user", cost=5),
    policy("shared", limits=[limit(9, name="all", scope="SHARED")]),
)
GOOD: dict[str, Any] = {"policy": "transactions", "limit_name": "hourly", "limit": 50}


def faults(*customers: Customer, plans: tuple[CustomerPlan, ...] = ()) -> list[str]:
    declared = PolicySet(strategies=(strategy(),), policies=POLICIES, plans=plans)
    return [str(fault) for fault in validate(declared, customers=customers)]


def test_what_fits_has_no_fault() -> None:
    own = {**GOOD, "identity": "u", "expires": "2026-12-31T00:00:00Z"}
    bucket = {**GOOD, "limit_name": "burst", "burst": 5, "limit": 1}
    acme = customer("acme", "u", "v", plan="pro", stripe_customer="cus_1", overrides=[GOOD, own, bucket])
    assert faults(acme, customer("bare"), plans=(plan("pro", **GOOD),)) == []


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        (
            {"policy": "transaction"},
            "policy: there is no policy 'transaction'; did you mean 'transactions'?",
        ),
        ({"policy": "x"}, "policy: there is no policy 'x'; use one of shared, transactions"),
        (
            {"limit_name": "daily"},
            "limit_name: there is no limit 'daily' in the policy 'transactions'; use one of all, burst, hourly",
        ),
        ({"burst": 5}, "burst: 'hourly' is no TOKEN_BUCKET, so it has no burst; remove `burst`"),
        (
            {"limit_name": "all"},
            (
                "limit_name: 'all' counts all callers as one, so it cannot differ for some of them; "
                "change the policy, or count per identity there"
            ),
        ),
        (
            {"policy": "shared", "limit_name": "all"},
            (
                "limit_name: 'all' counts all callers as one, so it cannot differ for some of them; "
                "change the policy, or count per identity there"
            ),
        ),
        (
            {"limit": 4},
            (
                "limit: a request costs 5, more than ever fits: every request would be denied; "
                "raise the limit, or use a block to refuse a caller"
            ),
        ),
    ],
)
def test_overrides_must_fit_a_limit(override: dict[str, Any], fault: str) -> None:
    wrong = {**GOOD, **override}
    assert faults(plans=(plan("pro", **wrong),)) == [f"plans[0].overrides[0].{fault}"]
    assert faults(customer("acme", overrides=[wrong])) == [f"customers[0].overrides[0].{fault}"]


def test_a_burst_below_the_cost_never_fits() -> None:
    small = {**GOOD, "limit_name": "burst", "burst": 4}
    (fault,) = faults(customer("acme", overrides=[small]))
    assert fault.startswith("customers[0].overrides[0].limit: a request costs 5")


def test_names_and_identities_stand_once() -> None:
    again = (plan("pro", **GOOD), plan("pro", **GOOD))
    assert faults(
        customer("acme", "u", "v"),
        customer("acme", "w", "w"),
        customer("globex", "u", overrides=[GOOD, GOOD]),
        plans=again,
    ) == [
        "plans[1].name: 'pro' stands at plans[0] already; give each its own name",
        "customers[1].name: 'acme' stands at customers[0] already; give each its own name",
        "customers[2].overrides[1]: overrides[0] is for the same limit already; keep one of them",
        (
            "customers[1].identities[1]: stands at customers[1].identities[0] already; "
            "let each identity belong to one customer"
        ),
        (
            "customers[2].identities[0]: stands at customers[0].identities[0] already; "
            "let each identity belong to one customer"
        ),
    ]


def test_references_of_customers_are_known() -> None:
    stranger = {**GOOD, "identity": "x"}
    assert faults(customer("acme", "u", plan="por", overrides=[stranger]), plans=(plan("pro", **GOOD),)) == [
        "customers[0].plan: there is no plan 'por'; did you mean 'pro'?",
        (
            "customers[0].overrides[0].identity: is no identity of this customer; "
            "add it to `identities`, or remove it here"
        ),
    ]
    assert faults(customer("acme", plan="pro")) == [
        "customers[0].plan: there is no plan 'pro'; declare it under plans"
    ]
