"""What is written is read back to the same, and says nothing twice."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given

from tests.unit.fakes import steady
from tests.unit.policyfile.generated import Generated, documents
from usageflow.domain.policies import PolicySet
from usageflow.expressions import check
from usageflow.policyfile import LoadedFile, load
from usageflow.policyfile.writing import write

EXAMPLE = (Path(__file__).parents[3] / "examples" / "usageflow.yaml").read_text(encoding="utf-8")


def read(text: str) -> LoadedFile:
    return load(text, filename="f.yaml", check=check)


def written(loaded: LoadedFile) -> str:
    return write(loaded.application, loaded.policy_set, blocks=loaded.blocks, customers=loaded.customers)


@steady
@given(documents())
def test_what_is_written_is_read_back(made: Generated) -> None:
    loaded = read(made.text)
    assert loaded.application == made.application
    assert loaded.policy_set == made.policies
    assert loaded.blocks == made.blocks
    assert loaded.customers == made.customers
    assert written(loaded) == made.text


def test_small_things_take_a_line_and_defaults_none() -> None:
    text = written(read(EXAMPLE))
    assert "  limits:\n  - {name: hourly, limit: 100, window: 1h}\n" in text
    assert "mode: ENFORCE" not in text
    assert "on_missing" not in text
    assert text.startswith("version: 1\napplication: demo\nstrategies:\n- name: by-user\n")


def test_a_slot_and_a_calendar_need_no_window() -> None:
    text = """\
version: 1
application: demo
policies:
- name: p
  match: {path: /a}
  limits:
  - {name: at-once, algorithm: CONCURRENCY, limit: 2, scope: SHARED}
  - {name: daily, limit: 2, align: day, scope: SHARED}
  cost: size(request.path)
"""
    assert written(read(text)) == text


def test_an_empty_set_is_a_file_too() -> None:
    assert write("demo", PolicySet()) == "version: 1\napplication: demo\n"
