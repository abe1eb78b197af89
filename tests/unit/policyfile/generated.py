"""Policy files that hypothesis makes: valid ones, as models."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import assume
from hypothesis import strategies as st

from tests.unit.storage.test_snapshot_document import METHODS, NAMES, PATHS, TEXT, UNITS, policy_sets
from usageflow.domain.customers import Customer
from usageflow.domain.policies import Block, CustomerPlan, Policy, PolicySet, Scope
from usageflow.domain.validation import validate
from usageflow.expressions import check
from usageflow.policyfile.writing import write

IDENTITIES = st.text(min_size=1, max_size=20)


@dataclass(frozen=True, slots=True)
class Generated:
    """What a file declares."""

    application: str
    policies: PolicySet
    blocks: tuple[Block, ...]
    customers: tuple[Customer, ...]

    @property
    def text(self) -> str:
        return write(self.application, self.policies, blocks=self.blocks, customers=self.customers)


@st.composite
def documents(draw: st.DrawFn) -> Generated:
    """Draws a valid file."""
    policies = draw(policy_sets().map(_per_caller))
    overridable = [
        (policy.name, limit.name)
        for policy in policies.policies
        for limit in policy.limits
        if limit.scope is not Scope.SHARED
    ]
    chosen = st.lists(st.sampled_from(overridable), unique=True) if overridable else st.just([])
    plans = tuple(
        CustomerPlan.model_validate({"name": name, "overrides": [_override(draw, *each) for each in some]})
        for name, some in draw(st.dictionaries(NAMES, chosen, max_size=2)).items()
    )
    customers = tuple(
        Customer(
            name=name, identities=(identity,), plan=draw(st.sampled_from(["", *(p.name for p in plans)]))
        )
        for name, identity in draw(st.dictionaries(NAMES, IDENTITIES, max_size=3)).items()
    )
    blocks = draw(
        st.lists(
            st.builds(Block, methods=METHODS, path=PATHS, identity=st.just("") | IDENTITIES, reason=TEXT),
            max_size=3,
            unique_by=lambda block: block.key,
        )
    )
    made = Generated(draw(NAMES), policies.model_copy(update={"plans": plans}), tuple(blocks), customers)
    assume(not validate(made.policies, made.blocks, made.customers, check))
    return made


def _per_caller(policies: PolicySet) -> PolicySet:
    """Returns the same set, with limits per identity where a policy has a strategy."""

    def changed(policy: Policy) -> Policy:
        scope = Scope.IDENTITY if policy.strategy else Scope.SHARED
        limits = tuple(limit.model_copy(update={"scope": scope}) for limit in policy.limits)
        return policy.model_copy(update={"limits": limits})

    return policies.model_copy(update={"policies": tuple(map(changed, policies.policies))})


def _override(draw: st.DrawFn, policy: str, limit: str) -> dict[str, object]:
    return {"policy": policy, "limit_name": limit, "limit": draw(UNITS)}
