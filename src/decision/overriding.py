"""Limits as they hold for who is asking: the directory's overrides put in force, once per request and identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from usageflow.domain.identity import Identity, identity_hash
from usageflow.domain.snapshot import CompiledLimit, Snapshot


class Overriding:
    """Overrides of one request at ``now_us``. ``until_us`` is when the first of those that were met expires, or None."""

    __slots__ = ("_hashes", "_now_us", "_snapshot", "until_us")

    def __init__(self, snapshot: Snapshot, now_us: int) -> None:
        self._snapshot = snapshot
        self._now_us = now_us
        self._hashes: dict[str, bytes] = {}
        self.until_us: int | None = None

    def effective(
        self, limits: Sequence[CompiledLimit], identity: Identity | None
    ) -> Sequence[CompiledLimit]:
        """Returns limits with the rules of an identity. Nobody is a customer without a name of their own.

        The identity is hashed only where the directory may differ for somebody: that is most of what this costs.
        """
        if self._snapshot.directory.empty or identity is None or identity.anonymous:
            return limits
        hashed = self._hashes.get(identity.key)
        if hashed is None:
            hashed = self._hashes[identity.key] = identity_hash(identity.key, self._snapshot.hash_key)
        return [self._overridden(limit, hashed) for limit in limits]

    def capped(self, life_us: int) -> int:
        """Returns a time from now on, at most until the first of these overrides expires."""
        return life_us if self.until_us is None else min(life_us, self.until_us - self._now_us)

    def _overridden(self, limit: CompiledLimit, identity: bytes) -> CompiledLimit:
        effective = self._snapshot.directory.effective(limit, identity, self._now_us)
        if effective.until_us is not None:
            self.until_us = min(effective.until_us, self.until_us or effective.until_us)
        if effective.source == limit.source:
            return limit
        return replace(limit, rule=effective.rule, source=effective.source)
