"""``python -m decision``: serves this service alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from usageflow.runtime.serve import run


def _snapshot() -> Path | None:
    parser = argparse.ArgumentParser(prog="python -m decision", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--snapshot",
        type=Path,
        metavar="FILE",
        help="decide from a file of `usageflow snapshot`, without a database",
    )
    found: Path | None = parser.parse_args().snapshot
    return found


if __name__ == "__main__":
    sys.exit(run("decision", _snapshot()))
