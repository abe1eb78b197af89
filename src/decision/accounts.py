"""Under what reported requests are accounted for: worked out once per plan for what most reports share.

A busy service reports the same few kinds of requests: one endpoint, one verdict. Which policies matched, which of them bill and
whether an identity may be a credential is the same for all of a kind, whoever the caller was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from decision.endpoints import endpoint_of
from decision.reported import EndpointRef, Verdict
from decision.terms import held
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.expressions import Term
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.routes import parameters_of
from usageflow.domain.snapshot import CompiledPolicy, Snapshot
from usageflow.domain.templates import UNMATCHED, canonical_template
from usageflow.domain.usage import EndpointName, Series

_MOST = 10_000
"""Kinds remembered per plan; more than that are worked out anew."""


class Bill(NamedTuple):
    """A policy that meters, the billing target, and the expression; None for the quantity itself."""

    policy: str
    price: str
    term: Term | None = None

    @property
    def linear(self) -> bool:
        """Tells whether a count says all that the expression needs."""
        return self.term is None or self.term.reads.linear is not None


@dataclass(frozen=True, slots=True)
class Account:
    """What one kind of reported requests is accounted under. ``policy`` is the name that is shown.

    ``secret``: a raw identity may be a credential. ``bills`` is None where it depends on the identity (``enforce_percent``).
    """

    endpoint: EndpointName
    matched: tuple[CompiledPolicy, ...]
    policy: str
    revision: int
    secret: bool
    bills: tuple[Bill, ...] | None
    shadow: str = ""
    plain: bool = True
    """False where a policy has a metering expression that is not the quantity itself."""
    linear: bool = True
    """False where one needs events."""
    _series: dict[tuple[int, bool], Series] = field(default_factory=dict, compare=False)

    def series(self, status: int, verdict: Verdict) -> Series:
        """Returns what such requests are summed under; without a decision, status 429 means denied."""
        denied = status == 429 if verdict.denied is None else verdict.denied
        series = self._series.get((status, denied))
        if series is None:
            series = Series(
                self.endpoint, status, denied, verdict.reason, verdict.degraded, self.policy, self.shadow
            )
            self._series[status, denied] = series
        return series

    def identity(self, identity: str, hash_key: bytes) -> str:
        """Returns an identity's key as it is stored: where a strategy reads credentials too, a raw value may be one.

        Customers and blocks are found by hash as well, so hashing a plain name there costs its display only.
        """
        if not self.secret or not identity.startswith("v:"):
            return identity
        return f"h:{keyed_hash(hash_key, identity.removeprefix('v:')).hex()}"

    def bills_for(self, identity: str) -> Sequence[Bill]:
        """Returns what a caller's requests are billed by: the most specific policy per billing target counts."""
        if self.bills is not None:
            return self.bills
        return _bills([policy for policy in self.matched if _enforced_for(policy, identity)])


class Accounts:
    """The accounts of one plan. ``revisions`` of ``find`` hold the snapshots of older revisions that reports name."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[tuple[EndpointRef, Verdict], Account | None] = {}
        self.named: set[EndpointName] = set()
        """Routes that reports named and the plan does not know; never made of a path."""

    def find(
        self, ref: EndpointRef, path: str, verdict: Verdict, revisions: Mapping[int, Snapshot]
    ) -> Account:
        """Returns the account of a request. Raises InvalidArgument where the endpoint is none."""
        kind = (ref, verdict)
        known = self._known.get(kind)
        if known is not None:
            return known
        account = self._account(ref, path, verdict, revisions)
        if kind not in self._known and len(self._known) < _MOST:
            deciding = revisions.get(verdict.revision, self._snapshot)
            self._known[kind] = account if _whatever_the_path(ref, account.endpoint, deciding) else None
        return account

    def _account(
        self, ref: EndpointRef, path: str, verdict: Verdict, revisions: Mapping[int, Snapshot]
    ) -> Account:
        snapshot = self._snapshot
        endpoint = self._endpoint(ref, path)
        route = endpoint.template if isinstance(ref, int) else ref[1]
        named = snapshot.policy_numbers.get(verdict.policy_number)
        enforced = _matched(endpoint.method, route, path, revisions.get(verdict.revision, snapshot))
        secret = any(
            policy.strategy.reads_secrets for policy in _may_have_resolved(enforced) if policy.strategy
        )
        name = named.name if named is not None else ""
        matched = tuple(held(enforced, endpoint, path, routed=bool(route), named=name))
        terms = [policy.metering for policy in matched if policy.metering is not None]
        return Account(
            endpoint=endpoint,
            matched=matched,
            policy=name or (matched[0].name if matched else ""),
            revision=verdict.revision or snapshot.revision,
            secret=secret,
            bills=_bills(matched) if all(policy.shadow is None for policy in matched) else None,
            shadow="\n".join(sorted(self._names(verdict.shadow))),
            plain=not terms,
            linear=all(term.reads.linear is not None for term in terms),
        )

    def _note(self, endpoint: EndpointName) -> None:
        known = endpoint in self._snapshot.endpoint_numbers or endpoint.template == UNMATCHED
        if not known and len(self.named) < _MOST:
            self.named.add(endpoint)

    def _names(self, numbers: Sequence[int]) -> set[str]:
        """Returns the policies of these numbers; those that are gone count no more."""
        found = (self._snapshot.policy_numbers.get(number) for number in numbers)
        return {policy.name for policy in found if policy is not None}

    def _endpoint(self, ref: EndpointRef, path: str) -> EndpointName:
        if isinstance(ref, int):
            found = self._snapshot.endpoints.get(ref)
            if found is None:
                raise InvalidArgument.of(
                    "endpoint_number",
                    f"there is no endpoint {ref}",
                    "send the endpoint by name",
                    "ENDPOINT_UNKNOWN",
                )
            return found
        method, template = ref
        if template:
            endpoint = endpoint_of(method, template)
            self._note(endpoint)
            return endpoint
        endpoint_of(method, UNMATCHED)
        if not path:
            raise InvalidArgument.of("endpoint.template", "is empty and there is no path", "send one of them")
        return self._snapshot.name_of_path(method.upper(), path)


def _whatever_the_path(ref: EndpointRef, endpoint: EndpointName, deciding: Snapshot) -> bool:
    """Tells whether all reports of a kind are accounted alike: none is told apart by its path."""
    if not isinstance(ref, int) and not ref[1]:
        return False  # the path names the endpoint
    matched = deciding.policies_of_route(endpoint)
    return matched is not None and all(policy.condition is None for policy in matched)


def _matched(method: str, route: str, path: str, snapshot: Snapshot) -> list[CompiledPolicy]:
    """Returns the enforced policies that match what was decided on: the route with its values, else the raw path."""
    # `*` and `http://...` are targets too, which no pattern takes apart.
    raw = path if path.startswith("/") else ""
    template = canonical_template(route) if route else UNMATCHED
    matched = snapshot.policies_of_route(EndpointName(method, template))
    if matched is None:
        parameters = parameters_of(template, raw) if template != UNMATCHED else {}
        return [p for p in snapshot.trie.lookup_request(method, template, parameters, raw) if p.enforced]
    return [policy for policy in matched if policy.enforced]


def _may_have_resolved(matched: Sequence[CompiledPolicy]) -> list[CompiledPolicy]:
    """Returns the policies whose strategy may have found the identity: the first with one, and those with conditions before."""
    found = []
    for policy in matched:
        if policy.strategy is not None:
            found.append(policy)
            if policy.condition is None:
                break
    return found


def _bills(matched: Sequence[CompiledPolicy]) -> tuple[Bill, ...]:
    bills: list[Bill] = []
    taken: set[str] = set()  # no price is spelled as an event name here
    for policy in matched:
        metering = policy.policy.metering
        if metering is None:
            continue
        targets = {metering.price} | ({f"event {metering.event_name}"} if metering.event_name else set())
        if taken.isdisjoint(targets):
            bills.append(Bill(policy.name, metering.price, policy.metering))
        taken |= targets
    return tuple(bills)


def _enforced_for(policy: CompiledPolicy, identity: str) -> bool:
    """Tells whether a policy counts for a reported identity; without a strategy all callers are one."""
    return policy.side(identity if policy.strategy is not None else "").enforced
