"""``make soak [MINUTES=30] [SEEDS="7 12"]``: billing under scripts of faults from random seeds until time is over. What fails tells its seed."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools.prove.billing_scripts import Size
from tools.prove.cases.billing import SCRIPTS, show
from tools.prove.showing import NotShown

_AT_ONCE = 4
"""Scripts between two looks at the clock."""


def main(arguments: list[str]) -> int:
    """Runs scripts; returns the exit code, 1 at the first that does not hold."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="no script begins after that (default 30)")
    parser.add_argument("seeds", nargs="*", type=int, help="run the scripts of these seeds, once")
    options = parser.parse_args(arguments)
    shown = 0
    for seeds in _rounds(options.seeds, time.monotonic() + options.minutes * 60):
        print(f"  seeds {' '.join(map(str, seeds))}", flush=True)
        try:
            with tempfile.TemporaryDirectory(prefix="usageflow-soak-") as folder:
                show(Path(folder), seeds, Size())
        except NotShown as error:
            print(f'  {error}\n  DOES NOT HOLD: run it again by make soak SEEDS="..."', flush=True)
            return 1
        shown += len(seeds)
    print(f"  {shown} scripts: every ledger equal to the unit\n  holds", flush=True)
    return 0


def _rounds(given: list[int], deadline: float) -> Iterator[list[int]]:
    """Yields seeds: the given ones once, else random ones that no proof has, until time is over."""
    if given:
        yield given
        return
    while time.monotonic() < deadline:
        yield [SCRIPTS + 1 + secrets.randbelow(2**31) for _ in range(_AT_ONCE)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
