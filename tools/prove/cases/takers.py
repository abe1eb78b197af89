"""Many at once: exactly as many are admitted as fit, and who is denied takes from nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.prove.asking import Ask, Asker, Seen, askers
from tools.prove.policies import ALGORITHMS, limit, policy, policy_file
from tools.prove.showing import NotShown, ensure
from tools.prove.stores import STORES, Store, fleet, on_each

SIBLING_UNITS = 1_000
_ROUNDS = 12
_PAUSE_S = 1.5
"""After a round that the counters did not answer in whole: by then a breaker has let a probe through."""


@dataclass(frozen=True, slots=True)
class Size:
    """``takers`` ask four times each, at once, for ``units`` that fit."""

    takers: int = 100
    units: int = 70


def takers(folder: Path) -> str:
    """100 concurrent takers admit exactly N on every store for every algorithm, through three decision processes where they share
    the store; a denial leaves every sibling limit untouched.
    """
    return on_each(STORES, lambda store: show_takers(folder / store.name, store, Size()))


def show_takers(folder: Path, store: Store, size: Size) -> str:
    """Returns the figure for one store. Raises NotShown."""
    with store.settings() as settings, fleet(folder, policies_for(size), settings, store.replicas) as running:
        return asyncio.run(show_exact(running.addresses, running.api_key, size))


def policies_for(size: Size) -> str:
    """Returns the policy file that the takers need."""
    wide = [limit(f"wide-{name}", SIBLING_UNITS, how) for name, how in ALGORITHMS.items()]
    narrow = [
        policy(name, f"/{name}/take", [limit("n", size.units, how)]) for name, how in ALGORITHMS.items()
    ]
    return policy_file([*narrow, *(policy(f"wide-{name}", f"/{name}/*", wide) for name in ALGORITHMS)])


async def show_exact(addresses: Sequence[str], api_key: str, size: Size) -> str:
    """Returns the figure for processes that share a store. Raises NotShown."""
    async with askers(addresses, api_key) as replicas:
        rounds = {name: await _until_answered(replicas, name, size) for name in ALGORITHMS}
    worst = max(rounds.values())
    again = f", after up to {worst - 1} rounds in which the store was too slow" if worst > 1 else ""
    asked = 4 * size.takers
    return (
        f"{size.takers} takers in {len(addresses)} process(es): {size.units} of {asked} requests admitted, "
        f"{SIBLING_UNITS - size.units} of {SIBLING_UNITS} left of each sibling, for {', '.join(ALGORITHMS)}{again}"
    )


async def _until_answered(replicas: Sequence[Asker], name: str, size: Size) -> int:
    """Returns in which round every request was answered, and so shown to be exact; the others must not admit more either."""
    for number in range(1, _ROUNDS + 1):
        user = f"{name}-{number}"
        seen = await _at_once(replicas, name, user, size)
        admitted, unanswered = sum(one.allowed for one in seen), sum(not one.answered for one in seen)
        said = f"{name}: {admitted} of {size.units} admitted, {unanswered} of {len(seen)} not answered"
        ensure(admitted <= size.units <= admitted + unanswered, said)
        if not unanswered and await _siblings_untouched(replicas[0], name, user, size):
            return number
        await asyncio.sleep(_PAUSE_S)
    raise NotShown(f"{name}: in none of {_ROUNDS} rounds did the counters answer every request in time")


async def _at_once(replicas: Sequence[Asker], name: str, user: str, size: Size) -> list[Seen]:
    ask, gate = Ask(f"/{name}/take", user), asyncio.Event()

    async def taker(replica: Asker) -> list[Seen]:
        await gate.wait()
        return [await replica.check(ask), *await replica.batch([ask, ask]), await replica.check(ask)]

    tasks = [asyncio.create_task(taker(replicas[n % len(replicas)])) for n in range(size.takers)]
    await asyncio.sleep(0)
    gate.set()
    return [seen for each in await asyncio.gather(*tasks) for seen in each]


async def _siblings_untouched(asker: Asker, name: str, user: str, size: Size) -> bool:
    """Shows that the siblings have lost one unit for each admitted request, and none for the others; False where they were not
    answered for.
    """
    look = await asker.check(Ask(f"/{name}/look", user))
    left = {limit: count for limit, count in look.remaining.items() if limit.startswith(f"wide-{name}/")}
    wanted = SIBLING_UNITS - size.units - 1
    if look.answered:
        ensure(len(left) == len(ALGORITHMS), f"{name}: not all siblings were told: {left}")
        ensure(set(left.values()) == {wanted}, f"{name}: {wanted} should be left of the siblings: {left}")
    return look.answered
