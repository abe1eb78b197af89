"""The golden cases of spec/vectors/leases, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from clients.python.client.tests.test_vectors import cases
from usageflow.client._core.denials import Denial
from usageflow.client._core.lease import Grant, LeaseTerms, Returned
from usageflow.client._core.leases import MAX_KEYS, Answer, Check, Leased, LeaseMachine
from usageflow.client._core.verdict import LimitView, Verdict
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire
from usageflow.vectors.v1 import vectors_pb2 as vectors


class Runner:
    def __init__(self, case: vectors.LeaseCase) -> None:
        self.machine = LeaseMachine(terms_of(case.endpoints), max_keys=case.max_keys or MAX_KEYS)
        self.checks: dict[str, Check] = {}

    def run(self, step: vectors.LeaseStep) -> None:
        kind = step.WhichOneof("step")
        assert kind is not None
        getattr(self, kind)(getattr(step, kind), step.at_us)

    def ask(self, ask: vectors.LeaseAsk, at_us: int) -> None:
        said = self.machine.ask(ask.endpoint, tuple(map(value_of, ask.values)), ask.cost, at_us)
        kind, check, verdict, lease = read(said, at_us)
        assert kind == ask.want
        assert lease == ask.want_lease
        assert (check is not None) == bool(ask.want_check)
        if check is not None:
            self.checks[ask.want_check] = check
            assert check.wish == (
                (ask.want_wish.tokens, ask.want_wish.life_us) if ask.HasField("want_wish") else None
            )
        if verdict is not None:
            found = [(each.remaining, each.reset_us, each.algorithm) for each in verdict.limits]
            assert found == [(each.remaining, each.reset_us, each.algorithm) for each in ask.want_limits]
            assert verdict.retry_after_us == ask.want_retry_after_us

    def answer(self, given: vectors.LeaseAnswer, at_us: int) -> None:
        grant = Grant(given.lease.encode(), given.grant.tokens, given.grant.life_us) if given.lease else None
        answer = Answer(verdict_of(given), grant, given.cacheable)
        self.machine.answered(self.checks.pop(given.check), answer, sent_us=given.sent_us, now_us=at_us)

    def fail(self, check: str, at_us: int) -> None:
        self.machine.failed(self.checks.pop(check), at_us)

    def replan(self, given: vectors.LeaseReplan, at_us: int) -> None:
        self.machine.replan(terms_of(given.changed), given.removed, at_us)

    def drain(self, drain: vectors.LeaseDrain, at_us: int) -> None:
        assert self.machine.returns(at_us, drain.at_most or 1_000) == returns_of(drain.want)

    def unsent(self, given: vectors.LeaseUnsent, at_us: int) -> None:
        self.machine.unsent(returns_of(given.returns))

    def close(self, given: vectors.LeaseClose, at_us: int) -> None:
        self.machine.close(at_us)


def read(said: Leased | Denial | Check, at_us: int) -> tuple[int, Check | None, Verdict | None, str]:
    if isinstance(said, Leased):
        kind = vectors.LEASE_VERDICT_ALLOWED_BY_LEASE
        return kind, said.renewal, said.verdict(), said.lease_id.decode()
    if isinstance(said, Denial):
        return vectors.LEASE_VERDICT_DENIED_BY_CACHE, None, said.verdict_at(at_us), ""
    return vectors.LEASE_VERDICT_CHECK, said, None, ""


def verdict_of(given: vectors.LeaseAnswer) -> Verdict:
    limits = tuple(
        LimitView(
            "policy",
            "limit",
            each.algorithm,
            1_000,
            1,
            each.remaining,
            each.reset_us,
            exceeded=not given.allowed,
        )
        for each in given.limits
    )
    return Verdict(
        common.DECISION_ALLOW if given.allowed else common.DECISION_DENY,
        common.REASON_WITHIN_LIMITS if given.allowed else common.REASON_LIMIT_EXCEEDED,
        limits,
        given.retry_after_us,
        degraded=common.Degraded(reason=common.DEGRADED_REASON_STORE_TIMEOUT) if given.degraded else None,
    )


def terms_of(given: Iterable[vectors.LeaseTerms]) -> list[LeaseTerms]:
    return [LeaseTerms(each.number, tuple(each.attributes), each.life_us, each.epoch) for each in given]


def returns_of(given: Iterable[vectors.LeaseEnd]) -> list[Returned]:
    return [Returned(each.lease.encode(), each.used) for each in given]


def value_of(value: wire.AttributeValue) -> str | bytes | None:
    kind = value.WhichOneof("kind")
    return getattr(value, kind) if kind else None


def counted(counters: Any) -> list[int]:
    names = ("granted", "used", "returned", "expired", "held")
    return [getattr(counters, name) for name in names]


@pytest.mark.parametrize("case", cases("leases", vectors.LeaseFile))
def test_leases(case: vectors.LeaseCase) -> None:
    runner = Runner(case)
    for step in case.steps:
        runner.run(step)
    found = runner.machine.status()
    assert found.granted == sum(counted(found)[1:])
    if case.HasField("want_counters"):
        assert counted(found) == counted(case.want_counters)
