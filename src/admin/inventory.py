"""The use-case behind ListEndpointInventory: endpoints with what was registered, reported and declared of them."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from admin.aip.paging import fingerprint, make_token, page_size, read_token
from admin.resources.declarations import Declarations
from usageflow.domain.analytics import HOUR_S
from usageflow.domain.clock import Clock
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.ids import DAY_S
from usageflow.domain.inventory import EndpointState, states_of, unmatched_states
from usageflow.domain.listing import Value
from usageflow.domain.matching import Entry, PatternTrie
from usageflow.domain.patterns import Methods, Pattern
from usageflow.domain.policies import Mode, PolicySet
from usageflow.domain.templates import UNMATCHED
from usageflow.domain.usage import EndpointName
from usageflow.storage.inventory import Calls, HadBy, InventoryRows, InventoryStore, Registration, SeenRelease
from usageflow.storage.naming import application_named
from usageflow.storage.ports import Application, ControlStore

_HOURLY_S = 3 * DAY_S
"""Requests of longer spans are summed by days."""

_REMEMBERED_S = 30
"""Later pages are cut from the inventory that the first one was cut from, where it is not older."""

_MOST_REMEMBERED = 8

Trie = PatternTrie[str]


@dataclass(frozen=True, slots=True)
class Listed:
    """An endpoint; of ``services`` those in ``gone_from`` have newer releases without it."""

    endpoint: EndpointName
    states: tuple[EndpointState, ...]
    registration: Registration | None
    calls: Calls
    services: tuple[HadBy, ...]
    gone_from: frozenset[str]
    policies: tuple[str, ...]

    @property
    def place(self) -> tuple[str, str]:
        """Returns what lists are ordered by."""
        return self.endpoint.template, self.endpoint.method


@dataclass(frozen=True, slots=True)
class InventoryPage:
    """Some endpoints. ``since`` is the second from which on requests count; ``releases`` are told on the first page."""

    endpoints: Sequence[Listed]
    next_page_token: str
    releases: Sequence[SeenRelease]
    since: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """All endpoints of an application, by template and method, as they were at ``made`` (Unix time in seconds)."""

    made: int
    endpoints: Sequence[Listed]
    releases: Sequence[SeenRelease]


class Inventories:
    """Tells which endpoints there are."""

    def __init__(
        self, control: ControlStore, store: InventoryStore, declarations: Declarations, clock: Clock
    ) -> None:
        self._control = control
        self._store = store
        self._declarations = declarations
        self._clock = clock
        self._tries: dict[str, tuple[int, Trie]] = {}
        self._made: dict[tuple[str, int], Inventory] = {}

    async def page(
        self,
        application: str,
        *,
        size: int,
        token: str,
        states: Collection[EndpointState],
        since: int | None,
    ) -> InventoryPage:
        """Returns endpoints that are in all of these states; ``since`` is Unix time in seconds, None for 24 h ago.

        Raises NotFound and InvalidArgument.
        """
        limit = page_size(size)
        owner = await application_named(self._control, application)
        mark = fingerprint("inventory", owner.application_id, sorted(states), since)
        after = read_token(token, mark, (int, int, str, str))
        start, daily = _span_of(after) if after else _span(self._now, since)
        inventory = await self._inventory(owner, start, daily=daily, going_on=bool(after))
        wanted = set(states)
        found = [each for each in inventory.endpoints if wanted.issubset(each.states)]
        first = bisect_right(found, tuple(map(str, after[2:])), key=lambda each: each.place) if after else 0
        items = found[first : first + limit]
        more = make_token(mark, (start, int(daily), *items[-1].place)) if first + limit < len(found) else ""
        return InventoryPage(items, more, () if after else inventory.releases, start)

    @property
    def _now(self) -> int:
        return self._clock.now_us() // 1_000_000

    async def _inventory(self, owner: Application, since: int, *, daily: bool, going_on: bool) -> Inventory:
        now, key = self._now, (owner.application_id, since)
        known = self._made.get(key)
        if going_on and known is not None and now - known.made <= _REMEMBERED_S:
            return known
        rows = await self._store.inventory(owner.application_id, since=since, daily=daily)
        trie = await self._trie(owner)
        made = Inventory(now, await asyncio.to_thread(_listed, rows, trie), rows.newest)
        self._made.pop(key, None)
        self._made[key] = made
        while len(self._made) > _MOST_REMEMBERED:
            del self._made[next(iter(self._made))]
        return made

    async def _trie(self, owner: Application) -> Trie:
        """Returns the policies in force by what they match; made anew for each revision only."""
        declaration = await self._declarations.of(owner)
        revision = declaration.application.revision
        known = self._tries.get(owner.application_id)
        if known is None or known[0] != revision:
            known = (revision, await asyncio.to_thread(_compiled, declaration.policies))
            self._tries[owner.application_id] = known
        return known[1]


def _span_of(after: Sequence[Value]) -> tuple[int, bool]:
    """Returns what the first page's token says of its span."""
    return int(after[0] or 0), bool(after[1])


def _span(now: int, since: int | None) -> tuple[int, bool]:
    """Returns from which second on requests count, and whether by days."""
    asked = now - DAY_S if since is None else since
    if asked > now or asked < 0:
        fix = "ask for a time between 1970 and now"
        raise InvalidArgument.of("start_time", "is in the future or before 1970", fix)
    daily = now - asked > _HOURLY_S
    step = DAY_S if daily else HOUR_S
    return asked - asked % step, daily


def _compiled(policies: PolicySet) -> Trie:
    return PatternTrie(
        Entry(
            Methods.parse(policy.match.methods),
            Pattern.parse(policy.match.path),
            policy.priority,
            policy.name,
            policy.name,
        )
        for policy in policies.policies
        if policy.mode is not Mode.DISABLED
    )


def _listed(rows: InventoryRows, trie: Trie) -> list[Listed]:
    newest = {release.service: release.number for release in rows.newest}
    found = [
        _item(name, rows.registered.get(name), rows.calls.get(name, Calls()), newest, trie)
        for name in {*rows.registered, *rows.calls}
    ]
    return sorted(found, key=lambda each: each.place)


def _item(
    name: EndpointName,
    registration: Registration | None,
    calls: Calls,
    newest: Mapping[str, int],
    trie: Trie,
) -> Listed:
    services = registration.services if registration is not None else ()
    gone_from = frozenset(each.service for each in services if each.number < newest.get(each.service, 0))
    if name.template == UNMATCHED:
        states = unmatched_states(lately=calls.requests > 0)
        return Listed(name, tuple(states), registration, calls, services, gone_from, ())
    policies = tuple(dict.fromkeys(trie.could_match(name.method, name.template)))
    states = states_of(
        registered=registration is not None and not registration.sighted,
        called=calls.first is not None,
        lately=calls.requests > 0,
        gone=bool(services) and len(gone_from) == len(services),
        covered=bool(policies),
    )
    return Listed(name, tuple(states), registration, calls, services, gone_from, policies)
