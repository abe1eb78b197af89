"""The schema that editors use takes what `load` takes, and tells what is wrong with the shape of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft7Validator

from tests.unit.fakes import steady
from tests.unit.policyfile.bad_content import CONTENT
from tests.unit.policyfile.generated import Generated, documents
from tests.unit.policyfile.test_bad_files import problems
from usageflow.policyfile.composer import Composer
from usageflow.policyfile.descriptions import DESCRIPTIONS
from usageflow.policyfile.json_schema import policy_file_schema
from usageflow.policyfile.nodes import value_of
from usageflow.policyfile.schema import POLICY_FILE

ROOT = Path(__file__).parents[3]
SCHEMA = policy_file_schema()
VALIDATOR = Draft7Validator(SCHEMA)

BEYOND_SHAPE = {
    "a metering expression",
    "a credential metered",
    "key twice",
    "unknown strategy",
    "window too long",
    "window without value",
    "condition names nothing",
    "condition over lines",
    "condition that yields text",
    "cost that yields text",
    "cost of credentials",
}
"""Mistakes that a second look at the file tells."""


def read(text: str) -> Any:
    root = Composer(text, filename="f.yaml").compose()
    assert root is not None
    return value_of(root)


def test_the_committed_schema_is_fresh() -> None:
    """Write it again with `make schema`."""
    committed = json.loads((ROOT / "spec" / "policy-file.schema.json").read_text(encoding="utf-8"))
    assert committed == SCHEMA


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("model", POLICY_FILE.models.values())
def test_every_key_says_what_it_means(model: Any) -> None:
    steps = next(steps for steps, known in POLICY_FILE.models.items() if known is model)
    assert set(DESCRIPTIONS[model]) == {"", *POLICY_FILE.known_keys(steps)}


@steady
@given(documents())
def test_what_is_read_validates(made: Generated) -> None:
    assert not list(VALIDATOR.iter_errors(read(made.text)))


def test_the_example_validates() -> None:
    text = ROOT / "examples" / "usageflow.yaml"
    assert not list(VALIDATOR.iter_errors(read(text.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("name", CONTENT)
def test_what_is_wrong_with_the_shape_does_not_validate(name: str) -> None:
    text = CONTENT[name][0]
    assert VALIDATOR.is_valid(read(text)) == (name in BEYOND_SHAPE)


@pytest.mark.parametrize(
    "limit",
    [
        "{limit: 1, align: day, window: }",
        "{limit: 1, algorithm: CONCURRENCY}",
        "{limit: 1, align: billing, anchor: 2026-01-31T00:00:00Z}",
        "{limit: 1, window: 1h30m, align: }",
    ],
)
def test_what_stands_for_a_window_validates(limit: str) -> None:
    policy = f"policies: [{{name: p, match: {{path: /a}}, limits: [{limit}]}}]\n"
    assert VALIDATOR.is_valid(read(f"version: 1\napplication: demo\n{policy}"))


def test_what_only_python_code_spells_is_refused() -> None:
    text = "version: 1\napplication: demo\npolicies: [{name: p, match: {path: /a}, cost_expression: '1'}]\n"
    assert not VALIDATOR.is_valid(read(text))
    assert problems(text)[0][2] == "unknown key 'cost_expression'"


@pytest.mark.parametrize("flag", ["'yes'", "1", "'true'"])
def test_a_flag_is_true_or_false(flag: str) -> None:
    text = f"version: 1\napplication: demo\npolicies: [{{name: p, match: {{path: /a}}, stop: {flag}}}]\n"
    assert not VALIDATOR.is_valid(read(text))
    assert problems(text)[0][3] == "write true or false"
