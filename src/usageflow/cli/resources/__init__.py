"""`usageflow policies list` and its like: the same six verbs for every kind, made from one table."""

from __future__ import annotations

from usageflow.cli.resources.kinds import KINDS
from usageflow.cli.resources.verbs import app_of

__all__ = ["KINDS", "app_of"]
