from __future__ import annotations

import json
import subprocess
import sys
import types
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from usageflow.cli.output import to_json

VERBS = [
    "serve",
    "bootstrap",
    "status",
    "apply",
    "check",
    "explain",
    "report",
    "usage",
    "top",
    "tail",
    "customer",
    "snapshot",
    "keys",
    "tokens",
    "audit",
    "meter",
]
GROUPS = {
    "keys": ["list", "create", "get", "update", "rotate", "revoke"],
    "tokens": ["list", "create", "get", "update", "rotate", "revoke"],
    "audit": ["list", "verify", "export"],
    "meter": ["status"],
}


def test_start_up_imports_nothing_heavy() -> None:
    script = (
        "import sys, usageflow.cli.main\n"
        "print([name for name in ('grpc', 'google.protobuf', 'yaml', 'rich', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_version(bare: Any) -> None:
    result = bare("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("usageflow 1.")


def test_help_lists_the_verbs_and_examples(bare: Any) -> None:
    result = bare("--help")
    assert result.exit_code == 0
    assert all(f"  {verb} " in result.stdout for verb in VERBS)
    assert "\n    usageflow apply -f usageflow.yaml\n" in result.stdout


@pytest.mark.parametrize(
    "verb",
    [[verb] for verb in VERBS if verb not in GROUPS]
    + [[group, verb] for group, verbs in GROUPS.items() for verb in verbs],
)
def test_every_verb_has_an_example(bare: Any, verb: list[str]) -> None:
    result = bare(*verb, "--help")
    assert result.exit_code == 0
    assert "\n  Examples:\n    " in result.stdout
    assert "\\b" not in result.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["check"],
        ["report"],
        ["meter", "x"],
        ["serve", "everything"],
        ["serve", "admin", "--workers", "2"],
    ],
)
def test_wrong_usage_is_exit_code_2(bare: Any, args: list[str]) -> None:
    result = bare(*args)
    assert result.exit_code == 2
    assert "Usage: usageflow" in result.stderr


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        ([], ("all", None, 1)),
        (["meter"], ("meter", None, 1)),
        (["decision", "--workers", "3"], ("decision", None, 3)),
        (["decision", "--snapshot", "file"], ("decision", Path("file"), 1)),
    ],
)
def test_serve_runs_the_runtime(
    bare: Any, monkeypatch: pytest.MonkeyPatch, args: list[str], asked: tuple[str, Path | None, int]
) -> None:
    runs = []

    def serve(role: str, snapshot: Path | None, workers: int) -> int:
        runs.append((role, snapshot, workers))
        return 7

    runtime = types.ModuleType("usageflow.runtime.serve")
    runtime.__dict__["run"] = serve
    monkeypatch.setitem(sys.modules, "usageflow.runtime.serve", runtime)
    assert bare("serve", *args).exit_code == 7
    assert runs == [asked]


def test_json_is_exact_and_ascii() -> None:
    value: dict[str, Any] = {
        "a": [1, 2**63, Decimal("0.10"), Decimal("1E+3")],
        "b": {},
        "c": [],
        "d": None,
        "é": "\x1b\ud800",
    }
    text = to_json(value)
    assert json.loads(text, parse_float=str) == {**value, "a": [1, 2**63, "0.1", 1000]}
    assert text.isascii()
    assert to_json([{"a": 1}]) == '[\n  {\n    "a": 1\n  }\n]'
