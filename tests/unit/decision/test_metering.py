from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from decision.plan import build_plan
from decision.reported import Verdict
from tests.unit.decision.reported_items import COUNT, NOW_S, batch, desk, event
from tests.unit.fakes import policy, snapshot
from usageflow.domain.policies import Metering, Mode
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.usage import MeteringDelta, UsageRecord

TOKENS = "response.body.usage.total_tokens"
ROUTE = ("GET", "/things/{id}")


def state(expression: str, revision: int = 7) -> Snapshot:
    metered = Metering(price="price_1", expression=expression)
    return snapshot(policy("p", "/things/:id", metering=metered), endpoints=[ROUTE], revision=revision)


def detail(**metadata: object) -> str:
    return json.dumps({"metadata": metadata})


def total(*records: UsageRecord) -> Decimal:
    return sum((item.units for record in records for item in record.metering), Decimal(0))


def test_captured_fields_become_units() -> None:
    at = desk(state(f"units('0.001') * {TOKENS}"))
    (delta,) = event(at, detail_json=detail(**{TOKENS: 1234})).metering
    assert delta == MeteringDelta(delta.endpoint, "v:u", "p", "price_1", 7, NOW_S, 1, Decimal("1.234"))


def test_metadata_of_the_application_and_the_caller_are_read() -> None:
    at = desk(state("identity.value == 'u' && request.path_parameters.id == '1' ? metadata.size.mb : 0.0"))
    assert total(event(at, detail_json=detail(size={"mb": 2.5}))) == Decimal("2.5")


def test_a_failure_keeps_the_event_and_meters_nothing() -> None:
    record = event(desk(state(TOKENS)))
    assert (record.event is not None, len(record.usage), record.metering) == (True, 1, ())
    (failure,) = record.failures
    assert (failure.policy, failure.price, failure.revision) == ("p", "price_1", 7)
    assert "total_tokens" in failure.message
    assert failure.time_us // 1_000_000 == NOW_S


def test_denied_requests_meter_nothing_and_fail_nothing() -> None:
    record = event(desk(state(TOKENS)), verdict=Verdict(denied=True))
    assert (record.metering, record.failures) == ((), ())


def test_errors_are_metered_as_the_expression_says() -> None:
    assert total(event(desk(state("usage_record.quantity * 2.0")), status=500)) == 2
    assert total(event(desk(state("response.status < 400 ? 1.0 : 0.0")), status=500)) == 0


def test_the_revision_that_decided_chooses_the_expression() -> None:
    at = desk(state("usage_record.quantity * 5.0"), r3=state("usage_record.quantity * 2.0", revision=3))
    assert total(event(at, verdict=Verdict(revision=3))) == 2
    assert total(event(at)) == 5


@given(
    quantities=st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(["counted", "event", "both"]))),
    expression=st.sampled_from(
        [
            "usage_record.quantity",
            "usage_record.quantity * 0.25 + 3.0",
            "usage_record.quantity > 10.0 ? usage_record.quantity : 0.5",
        ]
    ),
)
def test_every_request_meters_once_however_it_is_reported(
    quantities: list[tuple[int, str]], expression: str
) -> None:
    at = desk(state(expression))
    (instruction,) = at.plan.instructions.values()
    by_event = instruction.event_required
    alone = total(*(event(at, quantity=float(quantity)) for quantity, _ in quantities))
    records, counted = [], []
    for quantity, wished in quantities:
        way = "both" if by_event and wished == "counted" else wished
        if way != "event":
            counted.append(quantity)
        if way != "counted":
            records.append(event(at, quantity=float(quantity), counted=way == "both"))
    if counted:
        sums = COUNT._replace(requests=len(counted), units=str(sum(counted)), latency=())
        records.append(batch(sums._replace(endpoint=ROUTE), at=at))
    assert total(*records) == alone


def test_the_plan_names_fields_and_asks_for_events() -> None:
    policies = [
        policy("line", "/line", metering=Metering(price="price_a", expression="usage_record.quantity + 1.0")),
        policy("llm", "/llm", metering=Metering(price="price_b", expression=TOKENS)),
        policy("shadow", "/shadow", metering=Metering(price="price_c", expression=TOKENS), mode=Mode.SHADOW),
    ]
    made = snapshot(*policies, endpoints=[("GET", "/line"), ("GET", "/llm"), ("GET", "/shadow")])
    found = {
        item.endpoint.template: (item.capture_fields, item.event_required)
        for item in build_plan(made).instructions.values()
    }
    assert found == {"/line": ((), False), "/llm": ((TOKENS,), True), "/shadow": ((), False)}


def test_one_event_name_is_billed_once() -> None:
    made = snapshot(
        policy("wide", "*", metering=Metering(price="price_a", event_name="calls")),
        policy("things", "/things/:id", metering=Metering(price="price_b", event_name="calls")),
        endpoints=[ROUTE],
    )
    assert [(item.policy, item.price) for item in event(desk(made)).metering] == [("things", "price_b")]
