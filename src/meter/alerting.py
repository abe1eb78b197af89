"""Looks at every alert rule, every 15 s, in one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from meter.quotas import Quotas
from usageflow.domain.alert_messages import AlertEvent
from usageflow.domain.alerting import (
    PERIOD_US,
    QUIET,
    AlertState,
    Phase,
    Transition,
    Verdict,
    judge,
    period_us,
    step,
)
from usageflow.domain.alerts import AlertKind, AlertRule
from usageflow.domain.clock import Clock
from usageflow.domain.errors import UsageFlowError
from usageflow.storage.alerts import AlertReadings, AlertStore, StoredAlert, Told, WatchedApplication

LEASE_US = 35_000_000
"""How long the one who evaluates may be silent: a killed process is replaced in this and one period, less than a minute."""

KEPT_US = 36 * 86_400_000_000
"""How long history is kept."""

_TICK_S = 1.0
_FORGET_EVERY_US = 3_600_000_000

log = structlog.get_logger()

Seen = tuple[StoredAlert, Verdict, float]
"""An alert as it was, and what a look says of it now."""


class Alerting:
    """Moves alerts from state to state and puts messages into the outbox."""

    def __init__(
        self,
        store: AlertStore,
        readings: AlertReadings,
        quotas: Quotas,
        clock: Clock,
        new_id: Callable[[], str],
        boundaries: Sequence[int],
    ) -> None:
        self._store = store
        self._readings = readings
        self._quotas = quotas
        self._clock = clock
        self._new_id = new_id
        self._boundaries = boundaries
        self._holder = new_id()
        self._looked_us: dict[str, int] = {}
        self._forgot_us = 0

    async def run_for_ever(self) -> None:
        """Looks each period; whatever a round meets, the next one comes. A process that ends leaves its turn to another."""
        due_us = 0
        try:
            while True:
                now_us = self._clock.now_us()
                if not due_us - PERIOD_US <= now_us < due_us:
                    due_us = now_us + PERIOD_US
                    await self._round_safely()
                await asyncio.sleep(_TICK_S)
        finally:
            await self._leave()

    async def _round_safely(self) -> None:
        try:
            await self.round()
        except UsageFlowError as error:
            log.warning("alert rules were not looked at; will try again", error=str(error))

    async def _leave(self) -> None:
        try:
            await asyncio.shield(self._store.leave_lease(self._holder))
        except UsageFlowError:
            log.info("the turn at alert rules runs out by itself: the database does not answer")

    async def round(self) -> bool:
        """Looks at every rule that is due, where it is this process's turn; tells whether it was."""
        now_us = self._clock.now_us()
        if not await self._store.take_lease(self._holder, now_us=now_us, until_us=now_us + LEASE_US):
            return False
        for application in await self._store.watched():
            now_us = self._clock.now_us()
            if not await self._store.take_lease(self._holder, now_us=now_us, until_us=now_us + LEASE_US):
                return False
            await self._look_safely(application, now_us)
        await self._forget(now_us)
        return True

    async def _look_safely(self, application: WatchedApplication, now_us: int) -> None:
        """One application's trouble is no other's."""
        try:
            await self._look(application, now_us)
        except UsageFlowError as error:
            log.warning("alert rules were not looked at", application=application.name, error=str(error))

    async def _look(self, application: WatchedApplication, now_us: int) -> None:
        alerts: list[StoredAlert] = []
        told: list[Told] = []
        looked = [
            rule_id for rule_id, rule in application.rules.items() if self._is_due(rule_id, rule, now_us)
        ]
        async for rule_id, rule, seen in self._seen(application, looked, now_us):
            after, event = self._moved(application, rule, seen, now_us)
            if after != seen[0] or event is not None:
                alerts.append(after)
            told += [Told(rule_id, event, rule.destinations)] if event is not None else []
        if not alerts or await self._store.record(
            self._holder, application.application_id, alerts, told, now_us=now_us
        ):
            self._looked_us |= dict.fromkeys(looked, now_us)

    def _is_due(self, rule_id: str, rule: AlertRule, now_us: int) -> bool:
        ago_us = now_us - self._looked_us.get(rule_id, 0)
        return not 0 <= ago_us < period_us(rule) - PERIOD_US // 2

    async def _seen(
        self, application: WatchedApplication, looked: Sequence[str], now_us: int
    ) -> AsyncIterator[tuple[str, AlertRule, Seen]]:
        open_alerts: dict[str, dict[str, StoredAlert]] = {}
        for alert in application.alerts:
            open_alerts.setdefault(alert.rule_id, {})[alert.subject] = alert
        for rule_id in looked:
            rule, known = application.rules[rule_id], open_alerts.pop(rule_id, {})
            for seen in await self._of_rule(application, rule_id, rule, known, now_us):
                yield rule_id, rule, seen
        # What is left belongs to rules that do not count any more: it is over at once.
        for rule_id, rule in application.known.items():
            at_once = rule.model_copy(update={"keep_firing_for_us": 0})
            for alert in open_alerts.get(rule_id, {}).values():
                yield rule_id, at_once, (alert, Verdict.CLEAR, alert.state.value)

    async def _of_rule(
        self,
        application: WatchedApplication,
        rule_id: str,
        rule: AlertRule,
        known: Mapping[str, StoredAlert],
        now_us: int,
    ) -> list[Seen]:
        if rule.kind is AlertKind.QUOTA:
            found = await self._quotas.look(application, rule_id, rule, now_us)
            missing = [known[subject] for subject in known.keys() - {each[0].subject for each in found}]
            return [
                *((self._as_known(alert, known), verdict, value) for alert, verdict, value in found),
                *((alert, Verdict.CLEAR, 0.0) for alert in missing),
            ]
        now_s = now_us // 1_000_000
        reading = await self._readings.sums(
            application.application_id,
            endpoint=rule.endpoint,
            policy=rule.policy,
            since_s=now_s - rule.window_us // 1_000_000,
            until_s=now_s + 1,
            latency=rule.kind is AlertKind.P95,
        )
        about = {name: getattr(rule, name) for name in ("endpoint", "policy") if getattr(rule, name)}
        alert = StoredAlert(rule_id, "", QUIET, rule.thresholds[0], about)
        return [(self._as_known(alert, known), *judge(rule, reading, self._boundaries))]

    def _as_known(self, alert: StoredAlert, known: Mapping[str, StoredAlert]) -> StoredAlert:
        before = known.get(alert.subject)
        return alert if before is None else replace(alert, state=before.state)

    def _moved(
        self, application: WatchedApplication, rule: AlertRule, seen: Seen, now_us: int
    ) -> tuple[StoredAlert, AlertEvent | None]:
        alert, verdict, value = seen
        event_id = self._new_id()
        state, transition = step(alert.state, verdict, value, rule, now_us, event_id)
        if alert.state.phase is Phase.OK and state.phase is Phase.OK:
            return alert, None
        after = replace(alert, state=state)
        if transition is None:
            return after, None
        firing = state if transition is Transition.FIRED else alert.state
        return after, _event(application, rule, alert, (event_id, transition, value), firing, now_us)

    async def _forget(self, now_us: int) -> None:
        if now_us - self._forgot_us >= _FORGET_EVERY_US:
            self._forgot_us = now_us
            await self._store.forget_alerts(before_us=now_us - KEPT_US)


def _event(
    application: WatchedApplication,
    rule: AlertRule,
    alert: StoredAlert,
    what: tuple[str, Transition, float],
    firing: AlertState,
    now_us: int,
) -> AlertEvent:
    event_id, transition, value = what
    return AlertEvent(
        event_id=event_id,
        alert_id=firing.alert_id,
        application=application.name,
        rule=rule.name,
        kind=rule.kind.value,
        severity=rule.severity.value,
        transition=transition.value,
        at_us=now_us,
        since_us=firing.since_us,
        value=value,
        threshold=alert.threshold,
        unit=rule.unit,
        about=alert.about,
    )
