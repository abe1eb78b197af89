"""The use-case behind Explain: which policies match and why the others do not, and where every limit stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from decision.engine import Engine, Explained
from decision.questions import HttpRequest, Terms, question_by_name
from decision.resolving import applying, matching, sides
from decision.snapshots import SnapshotRegistry
from decision.terms import FALLBACK_COST, PolicyTerms
from usageflow.domain.errors import NotFound
from usageflow.domain.paths import normalise_path
from usageflow.domain.patterns import Methods
from usageflow.domain.policies import Mode, Policy, PolicySet
from usageflow.domain.snapshot import CompiledPolicy, Snapshot
from usageflow.storage.ports import SnapshotSource

MAX_POLICIES = 1000


@dataclass(frozen=True, slots=True)
class PolicyExplanation:
    """Whether and why a policy applies."""

    name: str
    applies: bool
    because: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a request would be decided, and why."""

    explained: Explained
    policies: Sequence[PolicyExplanation]
    identity_source: str
    matched_path: str


class Explaining:
    """Explains; for admins, who name the application."""

    def __init__(self, control: SnapshotSource, snapshots: SnapshotRegistry, engine: Engine) -> None:
        self._control = control
        self._snapshots = snapshots
        self._engine = engine

    async def explain(self, application: str, request: HttpRequest, cost: int) -> Explanation:
        """Returns the explanation; takes nothing. Raises NotFound, InvalidArgument."""
        found = await self._control.find_application(application)
        plan = self._snapshots.plan(found.application_id) if found is not None else None
        if found is None or plan is None:
            raise NotFound(f"there is no application {application[:64]!r}")
        policies = await self._control.policies_at(found.application_id, plan.snapshot.revision)
        question = question_by_name(plan.snapshot, request, Terms(cost))
        explained = await self._engine.explain(plan.snapshot, question)
        return _explanation(explained, plan.snapshot, policies or PolicySet())


def _explanation(explained: Explained, snapshot: Snapshot, policies: PolicySet) -> Explanation:
    question = explained.question
    matched = matching(snapshot, question)
    terms, side = sides(snapshot, question, explained.now_us)
    enforced, shadows = applying(terms.applicable(matched), side)
    applied = {policy.name for policy in (*enforced, *shadows)}
    modes = {policy.name: policy.policy.mode for policy in shadows}
    found = {policy.name: _left_out(policy, terms) for policy in matched}
    failed = {(item.policy, item.field): item.message for item in explained.answer.failures}
    rows = []
    for policy in policies.policies:
        because = _because(policy.name, applied, found) or _why_not(policy, question.endpoint.method)
        because += _failed(policy.name, failed) if policy.name in applied else ""
        mode = modes.get(policy.name, policy.mode)
        if mode is not policy.mode:
            because += f"; the caller is not among the {policy.enforce_percent} % that it is enforced for"
        rows.append(PolicyExplanation(policy.name, policy.name in applied, because, mode))
    rows.sort(key=lambda row: not row.applies)
    identity = explained.answer.identity
    path = normalise_path(question.target) if isinstance(question.target, str) else question.endpoint.template
    source = identity.source if identity else "no policy that applies yields one"
    return Explanation(explained, rows[:MAX_POLICIES], source, path)


def _because(name: str, applied: set[str], left_out: Mapping[str, str]) -> str:
    return "method and path match" if name in applied else left_out.get(name, "")


def _left_out(policy: CompiledPolicy, terms: PolicyTerms) -> str:
    """Returns why a policy that matches does not apply, if it does not."""
    return (
        "its condition is false" if terms.condition(policy) is False else "a more specific policy says stop"
    )


def _failed(name: str, failed: Mapping[tuple[str, str], str]) -> str:
    """Returns what could not be evaluated, and what that leads to."""
    text = ""
    if (name, "condition") in failed:
        text += f"; its condition failed: {failed[name, 'condition']}; it applies all the same, without stop"
    if (name, "cost") in failed:
        text += f"; its cost failed: {failed[name, 'cost']}; it costs {FALLBACK_COST}"
    return text


def _why_not(policy: Policy, method: str) -> str:
    if policy.mode is Mode.DISABLED:
        return "the policy is disabled"
    if not Methods.parse(policy.match.methods).matches(method):
        return f"method {method} is not among {', '.join(policy.match.methods)}"
    return f"the path does not match {policy.match.path}"
