"""``make bench [ROW=name]``: measures, prints the table, writes bench/out. A missed budget is a figure, not a failure."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

# The transport's own log lines would stand between those of progress.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from rich.console import Console

from bench.figures import Figure, NotMeasured
from bench.report import table, write
from bench.rows import BESIDES, ROWS, Row
from bench.run import Run

OUT = Path(__file__).parent / "out"
WIDTH = 120
"""The least that the table needs; a pipe would get less."""


def main(names: Sequence[str]) -> int:
    """Measures the named rows, or all; returns the exit code."""
    unknown = [name for name in names if name not in {*ROWS, *BESIDES}]
    if unknown:
        print(f"there is no row {unknown[0]!r}: choose from {', '.join([*ROWS, *BESIDES])}", file=sys.stderr)  # noqa: T201
        return 2
    with tempfile.TemporaryDirectory(prefix="usageflow-bench-") as folder:
        run = Run(Path(folder))
        figures = [_measure(run, row) for name, row in ROWS.items() if not names or name in names]
        for name, measure in BESIDES.items():
            if not names or name in names:
                _say(name)
                try:
                    measure(run)
                except NotMeasured as error:
                    run.say(f"not measured: {error}")
    write(OUT, figures, run.besides)
    terminal = Console()
    terminal.width = max(terminal.width, WIDTH)
    terminal.print(table(figures, run.besides))
    return 0


def _measure(run: Run, row: Row) -> Figure:
    _say(row.budget.name)
    started = time.monotonic()
    try:
        figure = Figure(row.budget, row.measure(run))
    except NotMeasured as error:
        figure = Figure(row.budget, None, str(error))
    except Exception as error:  # noqa: BLE001 - a row that breaks is a row that is not met; the others still run
        run.say(traceback.format_exc())
        figure = Figure(row.budget, None, f"{type(error).__name__}: {str(error)[:200]}")
    run.say(f"{figure.verdict} ({time.monotonic() - started:.0f} s)")
    return figure


def _say(name: str) -> None:
    print(f"{name} ...", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    # Ended from outside, it still ends the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
