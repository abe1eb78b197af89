"""Back ends that live in the process."""

from __future__ import annotations

from usageflow.storage.memory.checkpoints import NoCheckpoints
from usageflow.storage.memory.counters import MemoryCounterStore

__all__ = ["MemoryCounterStore", "NoCheckpoints"]
