"""Limits of one request in several slots of a cluster: what one slot denies is undone in the others, also across crashes."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tools.processes import EdgeReplica, edge_replicas
from tools.prove.asking import Ask, Asker, Seen, askers
from tools.prove.policies import ALGORITHMS, limit, policy, policy_file
from tools.prove.showing import NotShown, ensure
from tools.prove.stores import CLUSTER, Store, on_each
from tools.snapshots import SnapshotWriter

WIDE = 1_000
_ROUNDS = 12
_PAUSE_S = 1.5
_UNDONE_S = 10.0
"""By then what was denied has been undone, however busy the machine is."""

_Denied = Callable[[Sequence[Asker], "Size", str, asyncio.Semaphore], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Size:
    """``users`` of one tenant ask twice as often as their ``user_units`` allow; all together have ``tenant_units``."""

    users: int = 20
    user_units: int = 10
    tenant_units: int = 100
    crashes: int = 12


def cluster(folder: Path) -> str:
    """On a cluster of three primaries a denial in one slot is undone in the others, and after a crash between them (a decision
    process is killed in mid-load, twelve times) nothing is over-admitted.
    """
    return on_each([CLUSTER], lambda store: show_cluster(folder, store, Size()))


def show_cluster(folder: Path, store: Store, size: Size) -> str:
    """Returns the figure for one store. Raises NotShown."""
    snapshot, writer = folder / "policies.snapshot.json", SnapshotWriter(folder / "admin")
    writer.write(policies_for(size), snapshot)
    with store.settings() as settings:
        with edge_replicas(snapshot, store.replicas, **settings) as replicas:
            addresses = [replica.wait_ready() for replica in replicas]
            undone = asyncio.run(show_undone(addresses, writer.api_key, size))
        crashed = asyncio.run(show_crashes(snapshot, writer.api_key, settings, store.replicas, size))
    return f"{undone}; {crashed}"


def policies_for(size: Size) -> str:
    """Returns the policy file: on `/user` the user's limits are narrow and the tenant's wide, on `/tenant` the other way round, on
    `/both` both are narrow. `/user/look` and `/tenant/look` meet the wide ones alone.
    """
    return policy_file(
        [
            _policy("user-narrow", "/user/take", size.user_units, "by-user"),
            _policy("tenant-wide", "/user/*", WIDE, "by-tenant"),
            _policy("tenant-narrow", "/tenant/take", size.tenant_units, "by-tenant"),
            _policy("user-wide", "/tenant/*", WIDE, "by-user"),
            _policy("both-user", "/both", size.user_units, "by-user"),
            _policy("both-tenant", "/both", size.tenant_units, "by-tenant"),
        ]
    )


def _policy(name: str, path: str, units: int, strategy: str) -> str:
    limits = [limit(algorithm, units, how) for algorithm, how in ALGORITHMS.items()]
    return policy(name, path, limits, strategy=strategy)


async def show_undone(addresses: Sequence[str], api_key: str, size: Size) -> str:
    """Shows that what was denied took from no limit, whichever of two identities denied it. Raises NotShown."""
    async with askers(addresses, api_key) as replicas:
        by_user = await _until_answered(_denied_by_user, replicas, size)
        by_tenant = await _until_answered(_denied_by_tenant, replicas, size)
    return (
        f"{by_user} denials by {size.users} users' limits left their tenant's untouched, {by_tenant} by the tenant's left the users' "
        f"untouched, for {', '.join(ALGORITHMS)}"
    )


async def _until_answered(denied: _Denied, replicas: Sequence[Asker], size: Size) -> int:
    """Returns the number of denials of the first round in which all was answered. Fewer ask at once each time, so that this does not
    depend on how fast the machine is.
    """
    for number in range(_ROUNDS):
        at_once = asyncio.Semaphore(max(1, size.users >> number))
        denials = await denied(replicas, size, f"{denied.__name__}-{number}", at_once)
        if denials:
            return denials
        await asyncio.sleep(_PAUSE_S)
    raise NotShown(f"in none of {_ROUNDS} rounds did the counters answer every request in time")


async def _denied_by_user(
    replicas: Sequence[Asker], size: Size, mark: str, at_once: asyncio.Semaphore
) -> int:
    """Returns the number of denials, 0 where not all was answered and so nothing is shown."""
    seen = await _all_ask(replicas, "/user/take", size, mark, at_once)
    admitted, unanswered = _admitted(seen), _unanswered(seen)
    for user, count in admitted.items():
        ensure(count <= size.user_units, f"{user}: {count} of {size.user_units} admitted")
    total = admitted.total()
    if unanswered:
        return 0
    ensure(total == size.users * size.user_units, f"{total} admitted of {size.users} x {size.user_units}")
    look = Ask("/user/look", f"{mark}-0", tenant=mark)
    return len(seen) - total if await _left(replicas[0], look, WIDE - total) else 0


async def _denied_by_tenant(
    replicas: Sequence[Asker], size: Size, mark: str, at_once: asyncio.Semaphore
) -> int:
    """Does the same where the tenant's limits deny."""
    seen = await _all_ask(replicas, "/tenant/take", size, mark, at_once)
    admitted, unanswered = _admitted(seen), _unanswered(seen)
    total = admitted.total()
    ensure(total <= size.tenant_units, f"{total} of {size.tenant_units} admitted")
    if unanswered:
        return 0
    for user in {user for user, _ in seen}:
        look = Ask("/tenant/look", user, tenant=mark)
        if not await _left(replicas[0], look, WIDE - admitted[user]):
            return 0
    return len(seen) - total


async def _all_ask(
    replicas: Sequence[Asker], path: str, size: Size, mark: str, at_once: asyncio.Semaphore | None = None
) -> list[tuple[str, Seen]]:
    """Lets users ask side by side; returns who asked and what was answered."""
    at_once = at_once or asyncio.Semaphore(size.users)

    async def user(number: int) -> list[tuple[str, Seen]]:
        name = f"{mark}-{number}"
        ask, replica = Ask(path, name, tenant=mark), replicas[number % len(replicas)]
        async with at_once:
            return [(name, await replica.check(ask)) for _ in range(2 * size.user_units)]

    each = await asyncio.gather(*(user(number) for number in range(size.users)))
    return [one for seen in each for one in seen]


def _admitted(seen: Sequence[tuple[str, Seen]]) -> Counter[str]:
    return Counter(user for user, one in seen if one.allowed)


def _unanswered(seen: Sequence[tuple[str, Seen]]) -> int:
    return sum(not one.answered for _, one in seen)


async def _left(asker: Asker, look: Ask, units: int) -> bool:
    """Ensures that so many units are left of the wide limits, once all is undone; each look takes one. False where it was not
    answered.
    """
    looks, deadline_s = 0, asyncio.get_running_loop().time() + _UNDONE_S
    while True:
        seen = await asker.check(look)
        looks += 1
        if not seen.answered:
            return False
        left = {count + looks for count in seen.remaining.values()}
        if left == {units}:
            return True
        late = asyncio.get_running_loop().time() > deadline_s
        ensure(not late, f"{look.path}: {sorted(left)} left instead of {units}: a denial was not undone")
        await asyncio.sleep(0.1)


async def show_crashes(
    snapshot: Path, api_key: str, settings: dict[str, str], replicas: int, size: Size
) -> str:
    """Shows that nothing is over-admitted where processes are killed in mid-load. Raises NotShown."""
    return await _Crashes(snapshot, api_key, settings, replicas, size).show()


class _Crashes:
    """Decision processes that are killed in mid-load."""

    def __init__(
        self, snapshot: Path, api_key: str, settings: dict[str, str], replicas: int, size: Size
    ) -> None:
        self._snapshot, self._api_key, self._settings = snapshot, api_key, settings
        self._replicas, self._size = replicas, size
        self._random = Random(1)  # noqa: S311 - the same moments every time

    async def show(self) -> str:
        least, unanswered = self._size.tenant_units, 0
        with ExitStack() as running:
            survivors = [await self._start(running) for _ in range(self._replicas - 1)]
            addresses = [replica.wait_ready() for replica in survivors]
            for number in range(self._size.crashes):
                seen = await self._crash(await self._start(running), addresses, f"crash-{number}")
                admitted = _admitted(seen)
                total, most = admitted.total(), max(admitted.values(), default=0)
                said = f"round {number}: {total} of {self._size.tenant_units} admitted, one user {most}"
                ensure(total <= self._size.tenant_units and most <= self._size.user_units, said)
                least, unanswered = min(least, total), unanswered + _unanswered(seen)
        return (
            f"{self._size.crashes} processes killed in mid-load: never more than {self._size.tenant_units} admitted (at least {least}), "
            f"nor {self._size.user_units} of a user; {unanswered} requests not answered"
        )

    async def _start(self, running: ExitStack) -> EdgeReplica:
        replica = running.enter_context(EdgeReplica(self._snapshot, **self._settings))
        await asyncio.to_thread(replica.wait_ready)
        return replica

    async def _crash(self, victim: EdgeReplica, others: Sequence[str], mark: str) -> list[tuple[str, Seen]]:
        """Kills a process while all ask, then lets the others be asked for all that is left."""
        async with askers([victim.wait_ready(), *others], self._api_key) as replicas:
            asking = asyncio.create_task(_all_ask(replicas, "/both", self._size, mark))
            await asyncio.sleep(self._random.uniform(0.01, 0.3))
            await asyncio.to_thread(victim.stop, signal.SIGKILL)
            seen = await asking
            return seen + await _all_ask(replicas[1:], "/both", self._size, mark)
