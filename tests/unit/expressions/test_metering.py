from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.domain.errors import Fault
from usageflow.domain.expressions import EvaluationFailed, Facts, Linear, Reads, ResultType, UsageFacts, Value
from usageflow.domain.identity import Attributes
from usageflow.domain.usage import EndpointName
from usageflow.expressions import check, compile_term

TOKENS = "response.body.usage.total_tokens"
METADATA: dict[str, object] = {
    TOKENS: 123.0,
    "response.body.rate": 0.1,
    "response.headers.x-units": "7",
    "x": {"y": 4.0},
}


def facts(quantity: float = 2.5, status: int = 200) -> Facts:
    return Facts(EndpointName("GET", "/a"), Attributes(), usage=UsageFacts(quantity, status, METADATA))


def units(text: str, quantity: float = 2.5, status: int = 200) -> Value | EvaluationFailed:
    return compile_term(text, ResultType.UNITS).evaluate(facts(quantity, status))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("usage_record.quantity", "2.5"),
        (TOKENS, "123"),
        (f"units('0.001') * {TOKENS}", "0.123"),
        (f"{TOKENS} * (units('0.5') * response.body.rate)", "6.15"),
        ("double(response.headers['X-Units'])", "7"),
        ("metadata.x.y", "4"),
        ("has(response.headers.gone) ? 1 : 2", "2"),
        ("'x-units' in response.headers ? 1u : 2u", "1"),
        ("response.status < 400 ? 1.0 : 0.0", "1"),
    ],
)
def test_an_expression_yields_units(text: str, expected: str) -> None:
    assert units(text) == Decimal(expected)


@pytest.mark.parametrize(
    "text",
    [
        "response.body.gone",
        "metadata.x.gone",
        "metadata.gone.y",
        "0.0 / (usage_record.quantity - 2.5)",
        "1.0 / (usage_record.quantity - 2.5)",
        "usage_record.quantity - 3.0",
        "usage_record.quantity * 1e15",
        "response.headers['gone'] == '' ? 1.0 : 2.0",
        "metadata.x",
    ],
)
def test_what_is_no_amount_fails(text: str) -> None:
    assert isinstance(units(text), EvaluationFailed)


@pytest.mark.parametrize(
    ("text", "slope", "base"),
    [
        ("usage_record.quantity * 0.001 + 2.0", "0.001", "2"),
        ("(usage_record.quantity + 1.0) * units('0.1')", "0.1", "0.1"),
        ("usage_record.quantity / 1000.0", "0.001", "0"),
        ("1", "0", "1"),
    ],
)
def test_a_line_is_recognised(text: str, slope: str, base: str) -> None:
    found = check(text, ResultType.UNITS)
    assert isinstance(found, Reads)
    assert found.linear == Linear(Decimal(slope), Decimal(base))


@pytest.mark.parametrize(
    "text",
    [
        "usage_record.quantity - 1.0",
        "usage_record.quantity / 3.0",
        "usage_record.quantity * usage_record.quantity",
        "usage_record.quantity > 1.0 ? 1.0 : 2.0",
        "response.status == 200 ? 1.0 : 1.0",
        "7 / 2",
    ],
)
def test_what_counts_cannot_tell_is_no_line(text: str) -> None:
    found = check(text, ResultType.UNITS)
    assert isinstance(found, Reads)
    assert found.linear is None


numbers = st.decimals(0, 1000, places=3)


@given(numbers, numbers, st.floats(0, 1e6))
def test_a_line_is_what_cel_evaluates(slope: Decimal, base: Decimal, quantity: float) -> None:
    line = f"usage_record.quantity * {slope} + {base}"
    # The condition hides the line: CEL itself works it out.
    by_cel = units(f"response.status == 200 ? {line} : 0.0", quantity)
    by_line = units(line, quantity)
    assert isinstance(by_cel, Decimal)
    assert isinstance(by_line, Decimal)
    # Quantities have 12 places, as those of counts.
    assert float(by_line) == pytest.approx(float(by_cel), rel=1e-12, abs=1e-9)


def test_only_what_is_read_has_to_be_captured() -> None:
    found = check(f"{TOKENS} * double(response.headers['X-Rate']) + metadata.x.y", ResultType.UNITS)
    assert isinstance(found, Reads)
    assert found.fields == (TOKENS, "response.headers.x-rate", "metadata.x.y")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("foo", "line 1, column 1"),
        ("response.body", "line 1, column 1"),
        ("1.0 + response.headers['set-cookie']", "line 1, column"),
        (f"1.0 + units('0.1') * {TOKENS}", "line 1, column"),
        (f"units('x') * {TOKENS}", "line 1, column"),
        ("usage_record.quantity * 2", "line 1, column 23"),
        ("'text'", "line 1, column 1"),
    ],
)
def test_a_fault_tells_the_place(text: str, place: str) -> None:
    found = check(text, ResultType.UNITS)
    assert isinstance(found, Fault)
    assert place[:14] in found.message
    assert found.fix


@given(st.text(max_size=80))
def test_no_text_breaks_the_check(text: str) -> None:
    assert isinstance(check(text, ResultType.UNITS), Reads | Fault)
