"""Python's garbage collector beside a large snapshot that stays: it would look at all of it again and again."""

from __future__ import annotations

import gc

from usageflow.domain.garbage import uncollected

_YOUNG = 50_000
"""Allocations between two looks at the youngest objects: a batch of decisions leaves no cycles behind."""


building = uncollected
"""Builds something large that stays, and collects nothing meanwhile: that would be half of the work."""


def settle_down() -> None:
    """Called once a process has loaded: what is there now is never looked at again, and what is young less often."""
    gc.set_threshold(_YOUNG, 20, 50)
    gc.collect()
    gc.freeze()
