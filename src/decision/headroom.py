"""The use-case behind ListHeadroom: where every limit stands for some identities. Takes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from decision.engine import Engine
from decision.overriding import Overriding
from decision.snapshots import SnapshotRegistry
from usageflow.domain.clock import Clock
from usageflow.domain.errors import InvalidArgument, NotFound
from usageflow.domain.hashing import display
from usageflow.domain.identity import CompiledStrategy, Identity, identity_hash, title_of
from usageflow.domain.limits import Standing
from usageflow.domain.matching import target_of_route
from usageflow.domain.policies import OnMissing, Scope
from usageflow.domain.snapshot import CompiledLimit, CompiledPolicy, Snapshot
from usageflow.domain.usage import EndpointName
from usageflow.domain.usage_events import identity_keys
from usageflow.storage.counters import LimitTake, Take
from usageflow.storage.identities import IdentityStore
from usageflow.storage.ports import ControlStore, SnapshotSource

MOST_IDENTITIES = 100
MOST_COUNTERS = 20_000
ENDPOINTS_TOLD = 20

_ANYWHERE = EndpointName("", "")
_ANONYMOUS = frozenset({OnMissing.ANONYMOUS_PER_IP, OnMissing.ANONYMOUS_SHARED})


@dataclass(frozen=True, slots=True)
class HeadroomAsk:
    """Whose headroom: identities as people write them, all those of a customer, or both; of some policies, or of all (none named)."""

    application: str
    identities: Sequence[str] = ()
    customer: str = ""
    policies: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LimitHeadroom:
    """Where a limit stands; ``endpoint`` is set where it counts each apart."""

    policy: CompiledPolicy
    limit: CompiledLimit
    endpoint: EndpointName | None
    standing: Standing

    @property
    def used(self) -> int:
        """Returns the units used."""
        return max(0, self.limit.rule.capacity - self.standing.remaining)

    @property
    def percent(self) -> int:
        """Returns how much is used in percent, rounded down; of a limit of 0 it is all."""
        capacity = self.limit.rule.capacity
        return 100 * self.used // capacity if capacity else 100


@dataclass(frozen=True, slots=True)
class IdentityHeadroom:
    """The limits of one identity."""

    identity: str
    customer: str
    limits: Sequence[LimitHeadroom]


@dataclass(frozen=True, slots=True)
class HeadroomFound:
    """The identities in the order in which they were asked for, and how many of the customer's were left out."""

    identities: Sequence[IdentityHeadroom]
    left_out: int


@dataclass(frozen=True, slots=True)
class _Person:
    """An identity, and the keys that strategies may know it under."""

    title: str
    keys: tuple[str, ...]
    customer: str = ""


@dataclass(frozen=True, slots=True)
class _Counter:
    """A counter that may be a person's."""

    person: int
    policy: CompiledPolicy
    limit: CompiledLimit
    endpoint: EndpointName
    key: str


class Headroom:
    """Tells what is left; for admins, who name the application. ``directory`` and ``identities`` are None without a database."""

    def __init__(
        self,
        control: SnapshotSource,
        snapshots: SnapshotRegistry,
        engine: Engine,
        clock: Clock,
        directory: ControlStore | None,
        identities: IdentityStore | None,
    ) -> None:
        self._control = control
        self._snapshots = snapshots
        self._engine = engine
        self._clock = clock
        self._directory = directory
        self._identities = identities

    async def list(self, ask: HeadroomAsk) -> HeadroomFound:
        """Returns where the limits stand. Raises NotFound (application, customer), InvalidArgument, and Unavailable where the
        counters are silent.
        """
        found = await self._control.find_application(ask.application)
        plan = self._snapshots.plan(found.application_id) if found is not None else None
        if found is None or plan is None:
            raise NotFound(f"there is no application {ask.application[:64]!r}")
        snapshot = plan.snapshot
        policies = _policies(snapshot, ask.policies)
        people, left_out = await self._people(snapshot, ask)
        counters = _counters(snapshot, policies, people, self._clock.now_us())
        if len(counters) > MOST_COUNTERS:
            message = f"{len(people)} identities have {len(counters)} counters, more than {MOST_COUNTERS}"
            raise InvalidArgument.of("identities", message, "name fewer of them, or `policies`")
        standings = await self._engine.standings(
            [Take((LimitTake(each.key, each.limit.rule, 1),)) for each in counters]
        )
        rooms = [_room(each, standing) for each, standing in zip(counters, standings, strict=True)]
        by_person: list[list[LimitHeadroom]] = [[] for _ in people]
        for counter, room in zip(counters, rooms, strict=True):
            by_person[counter.person].append(room)
        told = [
            IdentityHeadroom(person.title, person.customer, _told(limits))
            for person, limits in zip(people, by_person, strict=True)
        ]
        return HeadroomFound(told, left_out)

    async def _people(self, snapshot: Snapshot, ask: HeadroomAsk) -> tuple[Sequence[_Person], int]:
        if len(ask.identities) > MOST_IDENTITIES:
            message = f"names {len(ask.identities)} identities"
            raise InvalidArgument.of("identities", message, f"ask for at most {MOST_IDENTITIES} at a time")
        if not ask.identities and not ask.customer:
            raise InvalidArgument.of("identities", "is empty, and so is customer", "name one of them")
        named = await self._named(snapshot, ask.identities)
        if not ask.customer:
            return named, 0
        owned = await self._owned(snapshot, ask.customer)
        room = MOST_IDENTITIES - len(named)
        return [*named, *owned[:room]], max(0, len(owned) - room)

    async def _named(self, snapshot: Snapshot, identities: Sequence[str]) -> Sequence[_Person]:
        keys = [identity_keys(text, snapshot.hash_key) for text in identities]
        hashes = [
            identity_hash(each[-1] if each[-1].startswith("h:") else each[0], snapshot.hash_key).hex()
            for each in keys
        ]
        owners: Mapping[str, str] = {}
        if self._directory is not None and hashes:
            owners = await self._directory.identity_owners(snapshot.application_id, sorted(set(hashes)))
        return [
            _Person(text, each, owners.get(hashed, ""))
            for text, each, hashed in zip(identities, keys, hashes, strict=True)
        ]

    async def _owned(self, snapshot: Snapshot, customer: str) -> Sequence[_Person]:
        """Returns the identities of a customer: where usage tells their plain values, by these."""
        known = (
            await self._directory.customers(snapshot.application_id, [customer]) if self._directory else ()
        )
        if not known:
            raise NotFound(f"there is no customer {customer[:64]!r}", reason="CUSTOMER_NOT_FOUND")
        hashes = [bytes.fromhex(each) for each in known[0].identities]
        plain: dict[bytes, str] = {}
        if self._identities is not None:
            found = await self._identities.find(snapshot.application_id, hashes, snapshot.hash_key)
            plain = {each.hash: each.key for each in found if each.key.startswith("v:")}
        return [
            _Person(
                title_of(plain[each]) if each in plain else display(each),
                (*((plain[each],) if each in plain else ()), f"h:{each.hex()}"),
                customer,
            )
            for each in hashes
        ]


def _policies(snapshot: Snapshot, names: Sequence[str]) -> Sequence[CompiledPolicy]:
    """Returns the enforced policies that count, of these names where there are any. Raises InvalidArgument."""
    known = {policy.name for policy in snapshot.policies}
    for index, name in enumerate(names):
        if name not in known:
            fix = "name a policy that `usageflow policies list` shows and that is not disabled"
            raise InvalidArgument.of(f"policies[{index}]", f"there is no policy {name[:64]!r}", fix)
    return [
        policy
        for policy in snapshot.policies
        if policy.enforced and policy.limits and (not names or policy.name in names)
    ]


def _counters(
    snapshot: Snapshot, policies: Sequence[CompiledPolicy], people: Sequence[_Person], now_us: int
) -> Sequence[_Counter]:
    overriding = Overriding(snapshot, now_us)
    endpoints = {policy.name: _endpoints(snapshot, policy) for policy in policies}
    return [
        counter
        for number, person in enumerate(people)
        for policy in policies
        for key in _keys(policy.strategy, person)
        if policy.side(key).enforced
        for limit in overriding.effective(policy.limits, _identity(key))
        for counter in _of_limit(number, policy, limit, key, endpoints[policy.name])
    ]


def _of_limit(
    person: int, policy: CompiledPolicy, limit: CompiledLimit, key: str, endpoints: Sequence[EndpointName]
) -> Iterator[_Counter]:
    apart = limit.scope is Scope.IDENTITY_AND_ENDPOINT
    for endpoint in endpoints if apart else (_ANYWHERE,):
        yield _Counter(person, policy, limit, endpoint, limit.key(key, endpoint))


def _endpoints(snapshot: Snapshot, policy: CompiledPolicy) -> Sequence[EndpointName]:
    """Returns the registered endpoints that a policy is about, where one of its limits counts them apart."""
    if all(limit.scope is not Scope.IDENTITY_AND_ENDPOINT for limit in policy.limits):
        return ()
    return sorted(
        name
        for name in snapshot.endpoints.values()
        if any(p.name == policy.name for p in _matched(snapshot, name))
    )


def _matched(snapshot: Snapshot, endpoint: EndpointName) -> Sequence[CompiledPolicy]:
    known = snapshot.policies_of_route(endpoint)
    if known is not None:
        return known
    return snapshot.trie.lookup(endpoint.method, target_of_route(endpoint.template, {}))


def _keys(strategy: CompiledStrategy | None, person: _Person) -> Sequence[str]:
    """Returns the keys of an identity that a strategy can find; "" where it is all callers as one."""
    if strategy is None:
        return ("",)
    kinds = {"h:" if source.sensitive else "v:" for source in strategy.sources}
    # Whatever was joined with a hashed field is a hash too, and clients may send hashes for any source.
    kinds |= {"a:"} if strategy.on_missing in _ANONYMOUS else set()
    return [key for key in person.keys if key[:2] in kinds]


def _identity(key: str) -> Identity | None:
    return Identity(key, "", anonymous=key.startswith("a:")) if key else None


def _room(counter: _Counter, standing: Standing) -> LimitHeadroom:
    endpoint = counter.endpoint if counter.endpoint != _ANYWHERE else None
    return LimitHeadroom(counter.policy, counter.limit, endpoint, standing)


def _told(limits: Iterable[LimitHeadroom]) -> Sequence[LimitHeadroom]:
    """Returns each limit once (the key of an identity under which most is used), most used first; of one that counts endpoints
    apart those where something is used, or one that stands for all.
    """
    best: dict[tuple[str, int, EndpointName | None], LimitHeadroom] = {}
    for room in limits:
        place = (room.limit.policy, room.limit.index, room.endpoint)
        if place not in best or room.used > best[place].used:
            best[place] = room
    ordered = sorted(best.values(), key=lambda room: (-room.percent, -room.used))
    counts: dict[tuple[str, int], int] = {}
    told = []
    for room in ordered:
        seen = counts.get((room.limit.policy, room.limit.index), 0)
        if room.endpoint is None or seen == 0 or (room.used and seen < ENDPOINTS_TOLD):
            told.append(room)
        counts[room.limit.policy, room.limit.index] = seen + 1
    return told
