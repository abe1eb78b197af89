"""``python -m meter``: serves this service alone."""

from __future__ import annotations

import sys

from usageflow.runtime.serve import run

if __name__ == "__main__":
    sys.exit(run("meter"))
