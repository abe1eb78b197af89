"""Asks a destination what is wrong with the targets that are in force."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from meter.sinks.port import Finding, Level, Sink
from meter.targets import target_of
from usageflow.domain.billing import Target
from usageflow.domain.errors import NotFound, UsageFlowError
from usageflow.storage.ports import ControlStore

EVERY_S = 600.0

log = structlog.get_logger()


class Checking:
    """Knows what the last check found. Each process checks for itself: what is wrong may be wrong for its credentials only."""

    def __init__(self, control: ControlStore, sink: Sink) -> None:
        self.findings: Sequence[Finding] = ()
        self._control = control
        self._sink = sink

    async def run_for_ever(self) -> None:
        """Checks at the start and every ten minutes."""
        while True:
            try:
                await self.round()
            except UsageFlowError as error:
                log.warning("billing is not checked", error=str(error))
            await asyncio.sleep(EVERY_S)

    async def round(self) -> Sequence[Finding]:
        """Checks once; logs what is new and returns all of it."""
        found = await self._sink.check(await self._targets())
        for finding in found:
            if finding.level is not Level.OK and finding not in self.findings:
                target = str(finding.target) if finding.target else ""
                log.warning("billing check", level=finding.level.value, target=target, told=finding.message)
        self.findings = found
        return found

    def refusals(self) -> Mapping[Target, str]:
        """Returns the targets that were refused, and what to do about each."""
        return {
            finding.target: finding.message
            for finding in self.findings
            if finding.level is Level.REFUSED and finding.target is not None
        }

    async def _targets(self) -> list[Target]:
        """Returns every target of the revisions in force."""
        found: set[Target] = set()
        for application_id in await self._control.plan_versions():
            try:
                state = await self._control.load(application_id)
            except NotFound:
                continue  # it was deleted meanwhile
            meterings = (policy.metering for policy in state.policies.policies)
            found |= {target_of(each) for each in meterings if each is not None}
        return sorted(found)
