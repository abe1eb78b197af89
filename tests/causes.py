"""Causes of changes that tests make."""

from __future__ import annotations

from usageflow.domain.changes import Actor, Cause

NOBODY = Cause(Actor("", "test"), "test")


def by(name: str) -> Cause:
    """Returns the cause of somebody's change."""
    return Cause(Actor(f"id-of-{name}", name, "ipv4:127.0.0.1:1"), "test")
