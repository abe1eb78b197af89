from __future__ import annotations

from tests.unit.fakes import policy
from usageflow.domain.billing_targets import target_faults
from usageflow.domain.policies import Metering, Mode, Trigger


def faults(*metering: Metering, mode: Mode = Mode.ENFORCE) -> list[tuple[str, str]]:
    policies = [policy(f"p{index}", metering=each, mode=mode) for index, each in enumerate(metering)]
    return [(fault.field, fault.message) for fault in target_faults(policies)]


def test_a_price_has_one_trigger() -> None:
    one, other = Metering(price="price_a"), Metering(price="price_a", trigger=Trigger.STRIPE_INVOICE)
    ((field, message),) = faults(one, other)
    assert field == "policies[1].metering.trigger"
    assert message == "reaches price 'price_a' by stripe_invoice, policy 'p0' by stripe_usage"
    assert faults(one, other, mode=Mode.DISABLED) == []
    assert faults(one, one) == []


def test_an_event_name_has_one_trigger() -> None:
    one = Metering(price="price_a", event_name="calls")
    other = Metering(price="price_b", event_name="calls", trigger=Trigger.STRIPE_SUBSCRIPTION)
    assert [field for field, _ in faults(one, other)] == ["policies[1].metering.trigger"]


def test_a_price_has_one_event_name() -> None:
    one, other = (Metering(price="price_a", event_name=name) for name in ("calls", "tokens"))
    assert [field for field, _ in faults(one, other)] == ["policies[1].metering.event_name"]
    assert [field for field, _ in faults(one, Metering(price="price_a"))] == [
        "policies[1].metering.event_name"
    ]
