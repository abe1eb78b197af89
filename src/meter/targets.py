"""Where a policy's units are billed, by the revision that decided."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from usageflow.domain.billing import Target
from usageflow.domain.policies import Metering
from usageflow.storage.ports import SnapshotSource

_MOST = 500
"""Revisions remembered: what they hold never changes."""


class Targets:
    """What policies of revisions say of billing."""

    def __init__(self, source: SnapshotSource) -> None:
        self._source = source
        self._known: OrderedDict[tuple[str, int], Mapping[str, Metering]] = OrderedDict()

    async def of(self, application_id: str, revision: int, policy: str) -> Metering | None:
        """Returns what a policy of a revision says; None where either is gone."""
        key = (application_id, revision)
        if key not in self._known:
            found = await self._source.policies_at(*key)
            if found is None:
                return None
            self._known[key] = {
                each.name: each.metering for each in found.policies if each.metering is not None
            }
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return self._known[key].get(policy)


def target_of(metering: Metering) -> Target:
    """Returns where a policy's units are billed."""
    return Target(metering.trigger, metering.price, metering.event_name)
