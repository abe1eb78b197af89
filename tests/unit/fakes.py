"""What unit tests are made of: short ways to write policies, compiled snapshots, and stores that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from hypothesis import HealthCheck, settings

from admin.customers import stored
from decision.breaker import CircuitBreaker
from decision.questions import HttpRequest
from decision.resilience import ResilientStore
from usageflow import expressions
from usageflow.domain.changes import Cause
from usageflow.domain.clock import ManualClock
from usageflow.domain.compiling import compile_snapshot
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.customers import Customer
from usageflow.domain.directory import Directory, Entry
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from usageflow.domain.hashing import derive_key, keyed_hash, keys_under
from usageflow.domain.identity import PATH_PARAMETER, source_keys
from usageflow.domain.policies import Block, CustomerPlan, Limit, Match, Metering, Policy, PolicySet, Strategy
from usageflow.domain.policy_terms import term_attributes
from usageflow.domain.releases import Release
from usageflow.domain.snapshot import Snapshot, attribute_name
from usageflow.domain.templates import segments_of
from usageflow.domain.usage import EndpointName, ListedFailure, Outcome, PendingRow, UsageRecord
from usageflow.storage.counters import Amendment, CounterStore, Take, Taken
from usageflow.storage.directories import DirectoryChanges
from usageflow.storage.identities import KnownIdentity
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.ports import Application, ApplicationState, ChangeSet, NumberKind, Versions

steady = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    # Fixtures of tests only say how to make what each example makes anew.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

HASH_KEY = bytes(range(32))
KEY_OF = keys_under(HASH_KEY)
APPLICATION = "demo"
APPLICATION_KEY = derive_key(HASH_KEY, APPLICATION)


def strategy(name: str = "by-user", *headers: str, **fields: object) -> Strategy:
    """A strategy over headers, X-User by default."""
    sources = [{"in": "header", "name": header} for header in headers or ("X-User",)]
    return Strategy.model_validate({"name": name, "sources": sources, **fields})


def limit(number: int, window: str = "1h", **fields: object) -> Limit:
    """A limit of ``number`` units per window."""
    return Limit.model_validate({"limit": number, "window": window, **fields})


def policy(
    name: str = "p",
    path: str = "*",
    methods: Sequence[str] = ("*",),
    limits: Sequence[Limit] = (),
    **fields: object,
) -> Policy:
    """A policy; by default it matches everything."""
    match = Match(methods=tuple(methods), path=path)
    return Policy.model_validate({"name": name, "match": match, "limits": tuple(limits), **fields})


def metering(price: str = "price_1") -> Metering:
    return Metering(price=price)


def hashed_block(
    path: str = "*", identity: str = "", reason: str = "", methods: Sequence[str] = ("*",)
) -> Block:
    """A block as it is stored: its identity is hashed."""
    stored = keyed_hash(APPLICATION_KEY, identity).hex() if identity else ""
    return Block(methods=tuple(methods), path=path, identity=stored, reason=reason)


def customer(name: str = "acme", *identities: str, **fields: object) -> Customer:
    """A customer as it is declared; overrides may be mappings."""
    return Customer.model_validate({"name": name, "identities": identities, **fields})


def plan(name: str = "pro", **override: object) -> CustomerPlan:
    """A plan with one override."""
    return CustomerPlan.model_validate({"name": name, "overrides": [override]})


def numbers_of(policies: PolicySet, endpoints: Iterable[EndpointName]) -> dict[tuple[NumberKind, str], int]:
    """A number for everything that plans name."""
    names = [(NumberKind.POLICY, item.name) for item in policies.policies]
    for endpoint in endpoints:
        names.append((NumberKind.ENDPOINT, f"{endpoint.method} {endpoint.template}"))
        for segment in segments_of(endpoint.template):
            names += [
                (NumberKind.ATTRIBUTE, attribute_name((PATH_PARAMETER, name))) for name in segment.names
            ]
    sources = [source for item in policies.strategies for source in item.sources]
    names += [
        (NumberKind.ATTRIBUTE, attribute_name(key)) for source in sources for key in source_keys(source)
    ]
    names += [
        (NumberKind.ATTRIBUTE, attribute_name(key)) for key in term_attributes(policies, expressions.check)
    ]
    return {name: number for number, name in enumerate(sorted(dict.fromkeys(names)), start=1)}


def snapshot(
    *policies: Policy,
    strategies: Sequence[Strategy] = (),
    blocks: Sequence[Block] = (),
    endpoints: Sequence[tuple[str, str]] = (),
    revision: int = 7,
    plan_version: int = 11,
    plans: Sequence[CustomerPlan] = (),
    customers: Sequence[Customer] = (),
) -> Snapshot:
    """A compiled state of application ``app-1``; everything has a number."""
    declared = PolicySet(strategies=tuple(strategies) or (strategy(),), policies=policies, plans=tuple(plans))
    names = [EndpointName(*endpoint) for endpoint in endpoints]
    return compile_snapshot(
        application_id="app-1",
        application=APPLICATION,
        revision=revision,
        plan_version=plan_version,
        hash_key=APPLICATION_KEY,
        policies=declared,
        blocks=blocks,
        numbers={(str(kind), name): number for (kind, name), number in numbers_of(declared, names).items()},
        endpoints=names,
        directory=Directory().changed(1, [Entry.of(stored(item, APPLICATION_KEY)) for item in customers]),
        compile_term=expressions.compile_term,
    )


def request(path: str = "/a", user: str | None = None, method: str = "GET", **fields: object) -> HttpRequest:
    """A request of a user, by raw path."""
    attributes = () if user is None else (("header", "X-User", user),)
    return replace(HttpRequest(method, path, attributes=attributes), **fields)  # type: ignore[arg-type]


class SilentStore(MemoryCounterStore):
    """Counters that never answer, or that refuse, as long as they are told to; they count their calls."""

    error: Exception | None = None
    silent = False
    calls = 0

    async def take(self, takes: Sequence[Take]) -> Sequence[Taken]:
        await self._up()
        return await super().take(takes)

    async def peek(self, takes: Sequence[Take]) -> Sequence[Taken]:
        await self._up()
        return await super().peek(takes)

    async def amend(self, amendments: Sequence[Amendment]) -> Sequence[bool]:
        await self._up()
        return await super().amend(amendments)

    async def _up(self) -> None:
        self.calls += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


def resilient(store: CounterStore) -> ResilientStore:
    """A store whose breaker stays closed, for tests of what stands above it."""
    return ResilientStore(store, ManualClock(), {}, breaker=CircuitBreaker(threshold=1_000_000))


class FakeControl:
    """A ControlStore in memory, with switches for what may go wrong."""

    def __init__(self) -> None:
        self.states: dict[str, ApplicationState] = {}
        self.revisions: dict[tuple[str, int], PolicySet] = {}
        self.credentials: dict[bytes, Credential] = {}
        self.down = False
        self.races = 0
        self.looked_up = 0
        self.saved: list[ChangeSet] = []
        self.releases: list[Release] = []
        self.directories: dict[str, tuple[int, dict[str, Customer]]] = {}
        self._ids = count(1)

    def _up(self) -> None:
        if self.down:
            raise Unavailable("the database is down")

    def add(self, policies: PolicySet | None = None, name: str = APPLICATION) -> Application:
        """Adds an application at revision 0."""
        application = Application(f"app-{next(self._ids)}", name, 0, 1)
        self.states[application.application_id] = ApplicationState(application, PolicySet(), (), {}, ())
        self.revisions[application.application_id, 0] = PolicySet()
        if policies is not None:
            self.set(application.application_id, policies)
        return self.states[application.application_id].application

    def set(self, application_id: str, policies: PolicySet, blocks: tuple[Block, ...] = ()) -> None:
        """Makes a revision, past every check."""
        state = self.states[application_id]
        application = replace(
            state.application,
            revision=state.application.revision + 1,
            plan_version=state.application.plan_version + 1,
        )
        numbers = numbers_of(policies, state.endpoints)
        self.states[application_id] = ApplicationState(
            application, policies, blocks, numbers, state.endpoints
        )
        self.revisions[application_id, application.revision] = policies

    async def create_application(
        self, name: str, credentials: Sequence[Credential], *, cause: Cause
    ) -> Application:
        self._up()
        application = self.add(name=name)
        for item in credentials:
            owner = application.application_id if item.kind is CredentialKind.API_KEY else ""
            self.credentials[item.secret_hash] = replace(item, application_id=owner)
        return application

    async def find_application(self, name: str) -> Application | None:
        self._up()
        return next((s.application for s in self.states.values() if s.application.name == name), None)

    async def versions(self) -> Mapping[str, Versions]:
        self._up()
        return {
            key: Versions(state.application.plan_version, self.directories.get(key, (0, {}))[0])
            for key, state in self.states.items()
        }

    async def plan_versions(self) -> Mapping[str, int]:
        return {key: version.plan for key, version in (await self.versions()).items()}

    async def load(self, application_id: str) -> ApplicationState:
        self._up()
        if application_id not in self.states:
            raise NotFound("no such application")
        return self.states[application_id]

    async def change(
        self, application_id: str, change: ChangeSet, *, cause: Cause, expected_plan_version: int | None
    ) -> Application:
        self._up()
        state = self.states[application_id]
        now = state.application
        if self.races > 0 or now.plan_version != expected_plan_version:
            self.races -= 1
            self.states[application_id] = replace(
                state, application=replace(now, plan_version=now.plan_version + 1)
            )
            raise FailedPrecondition("changed meanwhile", reason="CHANGED_MEANWHILE")
        made = change.policies is not None
        application = replace(
            now, plan_version=now.plan_version + change.moves_plan, revision=now.revision + made
        )
        if change.customers_upserted or change.customers_deleted:
            self.enter(application_id, *change.customers_upserted, gone=change.customers_deleted)
        blocks = {block.key: block for block in state.blocks if block not in change.blocks_deleted}
        blocks |= {block.key: block for block in change.blocks_upserted}
        numbers = dict(state.numbers)
        for name in change.names:
            numbers.setdefault(name, len(numbers) + 1)
        policies = change.policies if change.policies is not None else state.policies
        self.states[application_id] = ApplicationState(
            application, policies, tuple(blocks.values()), numbers, state.endpoints
        )
        self.revisions[application_id, application.revision] = policies
        self.saved.append(change)
        return application

    def enter(self, application_id: str, *customers: Customer, gone: Sequence[str] = ()) -> None:
        """Enters customers, as they are stored, and deletes others."""
        version, present = self.directories.get(application_id, (0, {}))
        kept = {name: customer for name, customer in present.items() if name not in gone}
        kept |= {customer.name: customer for customer in customers}
        self.directories[application_id] = (version + 1, kept)

    async def directory_changes(self, known: Mapping[str, int]) -> Mapping[str, DirectoryChanges]:
        self._up()
        return {
            key: DirectoryChanges(version, [Entry.of(item) for item in customers.values()], (), whole=True)
            for key, (version, customers) in self.directories.items()
            if version != known.get(key, 0)
        }

    async def customers(self, application_id: str, names: Sequence[str]) -> Sequence[Customer]:
        _, present = self.directories.get(application_id, (0, {}))
        return [present[name] for name in sorted(names) if name in present]

    async def customer_plans(
        self, application_id: str, plans: Sequence[str] | None = None
    ) -> Mapping[str, str]:
        _, present = self.directories.get(application_id, (0, {}))
        found = {name: customer.plan for name, customer in present.items()}
        return {name: plan for name, plan in found.items() if plans is None or plan in plans}

    async def identity_owners(self, application_id: str, identities: Sequence[str]) -> Mapping[str, str]:
        _, present = self.directories.get(application_id, (0, {}))
        owners = {each: name for name, customer in present.items() for each in customer.identities}
        return {each: owners[each] for each in identities if each in owners}

    async def sight_endpoints(
        self, application_id: str, endpoints: Sequence[EndpointName], *, now_us: int, most: int
    ) -> Sequence[EndpointName]:
        self._up()
        known = self.states[application_id].endpoints
        fresh = [item for item in endpoints if item not in known][:most]
        await self.register_endpoints(application_id, fresh, now_us=now_us)
        return fresh

    async def register_endpoints(
        self,
        application_id: str,
        endpoints: Sequence[EndpointName],
        *,
        now_us: int,
        release: Release | None = None,
    ) -> Sequence[int]:
        self._up()
        self.releases += [release] if release else []
        state = self.states[application_id]
        numbers, known = dict(state.numbers), list(state.endpoints)
        fresh = [item for item in endpoints if item not in known]
        for item in fresh:
            numbers.setdefault((NumberKind.ENDPOINT, f"{item.method} {item.template}"), len(numbers) + 1)
        application = replace(state.application, plan_version=state.application.plan_version + bool(fresh))
        self.states[application_id] = replace(
            state, application=application, numbers=numbers, endpoints=(*known, *fresh)
        )
        return [numbers[NumberKind.ENDPOINT, f"{item.method} {item.template}"] for item in endpoints]

    async def find_credential(self, secret_hash: bytes) -> Credential | None:
        self.looked_up += 1
        self._up()
        return self.credentials.get(secret_hash)

    async def api_keys(self, application_id: str) -> Sequence[Credential]:
        self._up()
        return [item for item in self.credentials.values() if item.application_id == application_id]

    async def policies_at(self, application_id: str, revision: int) -> PolicySet | None:
        self._up()
        return self.revisions.get((application_id, revision))


class FakeUsage:
    """A UsageStore in memory. ``errors`` are raised by the next calls, ``poison`` by every call that holds that id;
    a call that holds one of ``refused`` is answered as by a database that refuses a value.
    """

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], UsageRecord] = {}
        self.calls: list[list[str]] = []
        self.errors: list[Exception] = []
        self.poison = ""
        self.refused: set[str] = set()
        self.gate: asyncio.Event | None = None
        self.waiting: list[PendingRow] = []
        self.asked_for: Collection[int] | None = None

    async def ingest(
        self, groups: Sequence[tuple[str, Sequence[UsageRecord]]]
    ) -> Sequence[Sequence[Outcome]]:
        self.calls.append([record.record_id for _, records in groups for record in records])
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if self.poison in self.calls[-1]:
            raise ValueError("the database refuses a value")
        if self.refused.intersection(self.calls[-1]):
            raise InvalidArgument.of("data", "is out of bounds", "correct it", "DATA_REFUSED")
        return [[self._keep(application, record) for record in records] for application, records in groups]

    def _keep(self, application: str, record: UsageRecord) -> Outcome:
        known = self.stored.setdefault((application, record.record_id), record)
        if known is record:
            return Outcome.ACCEPTED
        return Outcome.DUPLICATE if known.payload_hash == record.payload_hash else Outcome.CONFLICT

    async def pending(
        self, application_id: str, pseudonyms: Collection[int] | None = None
    ) -> Sequence[PendingRow]:
        self.asked_for = pseudonyms
        return self.waiting

    async def metering_failures(
        self, application_id: str, *, before: int, limit: int
    ) -> Sequence[ListedFailure]:
        found = [
            ListedFailure(row_id, record.record_id, failure)
            for row_id, ((owner, _), record) in enumerate(self.stored.items(), start=1)
            for failure in record.failures
            if owner == application_id and (not before or row_id < before)
        ]
        return found[::-1][:limit]


class FakeIdentities:
    """An IdentityStore that knows these."""

    def __init__(self, *known: KnownIdentity) -> None:
        self.known = known

    async def find(
        self, application_id: str, hashes: Collection[bytes], hash_key: bytes
    ) -> Sequence[KnownIdentity]:
        return [each for each in self.known if each.hash in hashes]

    async def keys_of(self, application_id: str, pseudonyms: Collection[int]) -> Mapping[int, str]:
        return {each.pseudonym: each.key for each in self.known if each.pseudonym in pseudonyms}
