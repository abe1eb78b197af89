from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.figures import Beside, Better, Budget, Figure
from bench.report import shown, table, write

FIGURES = [
    Figure(Budget("rate", "Rate", 60_000, "decisions/s", Better.HIGHER), 61_234.567),
    Figure(Budget("ratio", "Ratio", 1.5, "ratio", Better.LOWER), None, "no redis-server"),
]
BESIDES = [Beside("ping", "a bare PING", 12_345.678, "calls/s")]


def test_the_files_hold_an_entry_per_figure(tmp_path: Path) -> None:
    write(tmp_path / "out", FIGURES, BESIDES)
    assert json.loads((tmp_path / "out" / "latest.json").read_text()) == {
        "rate": {
            "value": 61_230,
            "budget": 60_000,
            "unit": "decisions/s",
            "better": "higher",
            "met": True,
        },
        "ratio": {"value": None, "budget": 1.5, "unit": "ratio", "better": "lower", "met": False},
    }
    assert json.loads((tmp_path / "out" / "beside.json").read_text()) == {
        "ping": {"value": 12_350, "unit": "calls/s"}
    }


def test_a_later_run_leaves_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    write(tmp_path, FIGURES, BESIDES)
    write(tmp_path, FIGURES[:1], [])
    assert list(json.loads((tmp_path / "latest.json").read_text())) == ["rate"]
    assert json.loads((tmp_path / "beside.json").read_text()) == {}


def test_the_table_tells_figure_budget_and_verdict() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(table(FIGURES, BESIDES))
    rows = [line for line in out.getvalue().splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]
    assert cells == [
        ["Rate", "61,235", "≥ 60,000", "decisions/s", "met"],
        ["Ratio", "-", "≤ 1.5", "ratio", "not measured: no redis-server"],
        ["a bare PING", "12,346", "", "calls/s", ""],
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(61_234.5, "61,234"), (12.345, "12.3"), (0.7512, "0.751"), (2, "2")]
)
def test_figures_show_the_digits_that_mean_something(value: float, text: str) -> None:
    assert shown(value) == text
