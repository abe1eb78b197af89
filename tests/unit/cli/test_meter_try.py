from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.unit.fakes import steady
from usageflow.cli.main import app
from usageflow.domain.errors import InvalidArgument
from usageflow.runtime.trying import try_expression

EVENT = {
    "event_id": "a",
    "endpoint": {"method": "POST", "template": "/v1/chat"},
    "status": 200,
    "quantity": 3,
    "metadata": {"tokens": 1234, "response.body.usage.total_tokens": 55},
}


def tried(*arguments: str, event: Any = EVENT) -> Any:
    return CliRunner().invoke(app, ["meter", "try", "--event", "-", *arguments], input=json.dumps(event))


@pytest.mark.parametrize(
    ("expression", "units"),
    [
        ("usage_record.quantity", 3),
        ("metadata.tokens * units('0.001')", 1.234),
        ("response.body.usage.total_tokens + usage_record.quantity", 58),
        ("response.status == 200 ? 1 : 0", 1),
    ],
)
def test_an_expression_is_tried_on_an_event(expression: str, units: float) -> None:
    told = tried("--expression", expression, "--output", "json")
    assert told.exit_code == 0
    document = json.loads(told.stdout)
    assert (document["units"], document["failure"]) == (units, "")
    assert document["linear"] is (expression == "usage_record.quantity")


def test_what_is_missing_is_named_and_the_exit_code_is_1() -> None:
    told = tried("--expression", "metadata.nothing")
    assert told.exit_code == 1
    assert "metadata.nothing" in told.output
    assert "missing" in told.output
    assert "no units" in told.output


@pytest.mark.parametrize(
    ("arguments", "event", "code"),
    [
        (["--expression", "metadata.x +"], EVENT, 1),
        (["--expression", "1"], {"colour": "red"}, 1),
        (["--expression", "1", "--policy", "p"], EVENT, 2),
        ([], EVENT, 2),
    ],
)
def test_what_cannot_be_tried_is_told(arguments: list[str], event: Any, code: int) -> None:
    assert tried(*arguments, event=event).exit_code == code


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    runner = CliRunner()
    at = str(tmp_path / "event.json")
    assert (
        "3 units"
        in runner.invoke(app, ["meter", "try", "--event", at, "--expression", "usage_record.quantity"]).output
    )
    assert runner.invoke(app, ["meter", "try", "--event", f"{at}.none", "--expression", "1"]).exit_code == 1


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@steady
@given(
    json_values
    | st.dictionaries(st.sampled_from(["status", "metadata", "quantity", "endpoint", "path"]), json_values)
)
def test_any_json_is_an_event_or_a_fault(event: Any) -> None:
    with contextlib.suppress(InvalidArgument):
        trial = try_expression("usage_record.quantity + metadata.tokens", event)
        assert (trial.units is None) is bool(trial.failure)
