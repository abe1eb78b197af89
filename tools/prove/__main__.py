"""``make prove [CASE=name]``: runs the cases; exit code 1 where one does not hold."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from pathlib import Path

from tools.prove.showing import NotShown
from tools.prove.table import CASES


def main(names: list[str]) -> int:
    """Runs the named cases, or all; returns the exit code."""
    unknown = [name for name in names if name not in CASES]
    if unknown:
        print(f"there is no case {unknown[0]!r}: choose from {', '.join(CASES)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or CASES:
        case = CASES[name]
        started = time.monotonic()
        print(f"{name}: {(case.__doc__ or '').strip()}", flush=True)
        try:
            with tempfile.TemporaryDirectory(prefix="usageflow-prove-") as folder:
                figure, verdict = case(Path(folder)), "holds"
        except NotShown as error:
            figure, verdict = str(error), "DOES NOT HOLD"
        except Exception:  # noqa: BLE001 - a case that breaks is a case that does not hold; the others still run
            figure, verdict = traceback.format_exc(), "DOES NOT HOLD"
        failed += verdict != "holds"
        print(f"  {figure}\n  {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
