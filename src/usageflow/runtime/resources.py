"""Files that come with the code: beside this module in a wheel, in their folders in a checkout."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

_PACKAGED = Path(__file__).parent / "data"
_CHECKOUT = Path(__file__).parents[3]


def read_resource(path: str) -> str:
    """Returns the text of a file of the repository, such as ``examples/usageflow.yaml``. Raises FileNotFoundError."""
    for root in (_PACKAGED, _CHECKOUT):
        if (root / path).is_file():
            return (root / path).read_text()
    raise FileNotFoundError(f"{path} does not come with this installation")


@cache
def latency_boundaries() -> tuple[int, ...]:
    """Returns the upper bounds of the latency buckets in microseconds (spec/vectors/latency)."""
    cases = json.loads(read_resource("spec/vectors/latency/boundaries.json"))["cases"]
    return tuple(next(case["boundaries_us"] for case in cases if "boundaries_us" in case))
