"""Plans and customers in files: good ones, and what is said of bad ones."""

from __future__ import annotations

import pytest

from usageflow.domain.customers import CustomerOverride
from usageflow.domain.policies import Override
from usageflow.policyfile import PolicyFileError, load

TEXT = """\
version: 1
application: demo
strategies:
  - {name: by-user, sources: [{in: header, name: X-User}]}
policies:
  - name: transactions
    match: {path: /a}
    strategy: by-user
    limits: [{name: hourly, limit: 100, window: 1h}]
plans:
  - name: pro
    overrides: [{policy: transactions, limit_name: hourly, limit: 1_000}]
customers:
  - name: acme
    identities: [user-1, "2"]
    stripe_customer: cus_123
    plan: pro
    overrides:
      - {policy: transactions, limit_name: hourly, limit: 5000, expires: 2026-12-31T00:00:00Z}
      - {policy: transactions, limit_name: hourly, limit: 9000, identity: user-1}
"""


def test_a_file_becomes_plans_and_customers() -> None:
    loaded = load(TEXT, filename="f.yaml")
    (plan,), (customer,) = loaded.policy_set.plans, loaded.customers
    assert plan.overrides == (Override(policy="transactions", limit_name="hourly", limit=1000),)
    assert (customer.identities, customer.stripe_customer, customer.plan) == (
        ("user-1", "2"),
        "cus_123",
        "pro",
    )
    assert customer.overrides == (
        CustomerOverride(
            policy="transactions", limit_name="hourly", limit=5000, expires_us=1_798_675_200_000_000
        ),
        CustomerOverride(policy="transactions", limit_name="hourly", limit=9000, identity="user-1"),
    )
    assert loaded.locate("customers[0].overrides[0].expires_us") == (19, 74)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("limit: 5000", "limit: 0", "19:59: 'limit' is out of bounds: 0; write a whole number from 1"),
        ("limit: 5000", "limit: 5000, burst: x", "19:72: 'burst' must be a whole number, not \"x\""),
        ("2026-12-31T00:00:00Z", "2026-12-31", "19:74: '2026-12-31' is not an instant"),
        ("2026-12-31T00:00:00Z", "[]", "19:74: 'expires' must be an instant, not a list"),
        ("2026-12-31T00:00:00Z", "9999-12-31T00:00:00Z", "19:74: 'expires'"),
        ("limit: 1_000", "limit: 1, expires: 5", "12:70: unknown key 'expires'; known keys are policy"),
        ("plan: pro", "plan: por", "17:11: there is no plan 'por'; did you mean 'pro'?"),
        (
            "cus_123",
            "acme",
            "16:22: 'stripe_customer' cannot be \"acme\"; write the id of a Stripe customer, such as cus_123",
        ),
        ('"2"', "2", "15:26: an item of 'identities' is 2, which YAML reads as a number"),
        ('"2"', '""', "15:26: an item of 'identities' is empty; write at least one character"),
        (
            '"2"',
            "user-1",
            "15:26: stands at customers[0].identities[0] already; let each identity belong to one customer",
        ),
        (
            "identity: user-1",
            "identity: user-3",
            "20:75: 'identity' is no identity of this customer; add it to `identities`, or remove it here",
        ),
        (
            "[{name: hourly,",
            "[{name: daily,",
            "12:52: there is no limit 'hourly' in the policy 'transactions'",
        ),
        ("policy: transactions,", "", "12:17: 'policy' is missing; add it, such as `policy: transactions`"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(good: str, bad: str, said: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        load(TEXT.replace(good, bad), filename="f.yaml")
    assert str(caught.value).startswith(f"f.yaml:{said}")
