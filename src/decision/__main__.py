"""``python -m decision``: serves this service alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from usageflow.runtime.serve import run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m decision", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--snapshot",
        type=Path,
        metavar="FILE",
        help="decide from a file of `usageflow snapshot`, without a database",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that share one port; needs USAGEFLOW_REDIS_URL",
    )
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    sys.exit(run("decision", arguments.snapshot, arguments.workers))
