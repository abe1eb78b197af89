"""What a run leaves behind: a table for people, latest.json for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from bench.figures import Beside, Figure


def latest(figures: Sequence[Figure]) -> dict[str, dict[str, object]]:
    """Returns the content of latest.json: an entry per budget."""
    return {
        figure.budget.name: {
            "value": _rounded(figure.value),
            "budget": figure.budget.limit,
            "unit": figure.budget.unit,
            "better": str(figure.budget.better),
            "met": figure.met,
        }
        for figure in figures
    }


def beside(figures: Sequence[Beside]) -> dict[str, dict[str, object]]:
    """Returns the content of beside.json: an entry per figure without a budget."""
    return {figure.name: {"value": _rounded(figure.value), "unit": figure.unit} for figure in figures}


def write(folder: Path, figures: Sequence[Figure], besides: Sequence[Beside]) -> None:
    """Writes both files anew: they hold what this run measured, nothing older."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("latest.json", latest(figures)), ("beside.json", beside(besides))):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def table(figures: Sequence[Figure], besides: Sequence[Beside]) -> Table:
    """Returns figures with budget and verdict, then those without."""
    made = Table(title="UsageFlow, measured on this machine", title_justify="left")
    for heading in ("figure", "measured", "budget", "unit", "verdict"):
        made.add_column(heading, justify="right" if heading in {"measured", "budget"} else "left")
    for figure in figures:
        bound = "≥" if figure.budget.better == "higher" else "≤"
        made.add_row(
            figure.budget.title,
            "-" if figure.value is None else shown(figure.value),
            f"{bound} {shown(figure.budget.limit)}",
            figure.budget.unit,
            figure.verdict,
            style=None if figure.met else "yellow",
        )
    if figures and besides:
        made.add_section()
    for item in besides:
        made.add_row(item.title, shown(item.value), "", item.unit, "", style="dim")
    return made


def shown(value: float) -> str:
    """Returns a figure with the digits that mean something here."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
