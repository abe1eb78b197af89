"""Tokens ahead: what clients admit by themselves stays within the promise, and hardly anything is withheld."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tools.prove.asking import Ask, askers
from tools.prove.lease_clients import Clients, Rule, Shared
from tools.prove.lease_judges import LEAST_SHARE, Steady, Steps, judge_steady, over_steps
from tools.prove.policies import policy_file
from tools.prove.showing import ensure
from tools.prove.stores import STORES, Fleet, Store, fleet, on_each

_S = 1_000_000
RULES = (Rule("TOKEN_BUCKET", 200, 5), Rule("FIXED_WINDOW", 200, 5))
_TRIES = 5
_MOST_LOST = 0.05
"""A run of which more was lost to calls without an answer says too little."""
_REPLICAS = 2
_READING_US = 1_000
"""What reading a clock may be wrong by, on top of what wall clock and monotonic clock drifted apart meanwhile."""


_Loads = dict[tuple[Rule, str], float]
"""Requests a second for each identity of a rule."""


@dataclass(frozen=True, slots=True)
class Size:
    """``clients`` under steady loads for so long, and for three times ``phase_s`` while revisions change."""

    clients: int = 8
    steady_s: float = 40.0
    phase_s: float = 8.0
    loads: tuple[float, ...] = (0.9, 1.5)


def leases(folder: Path) -> str:
    """With leases over 8 clients nothing is admitted beyond the algorithm's promise, on a bucket that refills and on windows, also
    with revision changes in mid-flight; in steady load less than 1 % is withheld.
    """
    return on_each(STORES, lambda store: _show(folder / store.name, store))


def _show(folder: Path, store: Store) -> str:
    number = min(_REPLICAS, store.replicas)
    with store.settings() as settings, fleet(folder, policies_for(1), settings, number) as running:
        return asyncio.run(show_leases(running, Size()))


def policies_for(factor: float) -> str:
    """Returns the policy file with the limits times a factor."""
    return policy_file(_times(rule, factor).policy for rule in RULES)


def _times(rule: Rule, factor: float) -> Rule:
    return rule._replace(limit=int(rule.limit * factor))


async def show_leases(running: Fleet, size: Size) -> str:
    """Returns the figure for processes that share a store. Raises NotShown."""
    steady = await show_steady(running, size)
    changing = await show_changing(running, size)
    return f"{size.clients} clients of {len(running.addresses)} process(es). {steady} {changing}"


async def show_steady(running: Fleet, size: Size) -> str:
    """Shows that nothing is beyond the promise and that hardly anything is withheld; the latter again where a busy machine let calls
    go unanswered or late. Raises NotShown.
    """
    for tries in range(1, _TRIES + 1):
        run = await _run(running, size.clients, _steady_loads(size, tries), size.steady_s)
        found = [judge_steady(clients.shared, run.error_us) for clients in run.clients]
        beyond = sum(one.beyond for one in found)
        ensure(beyond == 0, f"steady load: {beyond} requests were admitted beyond the promise")
        if tries == _TRIES or all(one.share >= LEAST_SHARE for one in found):
            return _steady_figure(size, found, tries, run.error_us)
    return ""


def _steady_loads(size: Size, tries: int) -> _Loads:
    return {
        (rule, f"{load}-{tries}"): load * rule.limit / rule.window_s for rule in RULES for load in size.loads
    }


def _steady_figure(size: Size, found: Sequence[Steady], tries: int, error_us: int) -> str:
    shares = ", ".join(f"{one.rule.algorithm} {one.share:.2%}" for one in found)
    lost, allowed = sum(one.lost for one in found), sum(one.allowed for one in found)
    again = f" ({lost} of {allowed} lost to calls without an answer)" if lost else ""
    least = min((one.admitted + one.lost) / one.allowed for one in found)
    ensure(least >= LEAST_SHARE, f"steady load, of what is allowed: {shares}{again}")
    ensure(lost <= _MOST_LOST * allowed, f"the store was too slow to tell: {shares}{again}")
    arrived, by_token = sum(one.arrived for one in found), sum(one.by_token for one in found)
    return (
        f"Load of {' and '.join(map(str, size.loads))} for {size.steady_s:.0f} s, try {tries}: {by_token} of {arrived} requests "
        f"paid by tokens, 0 beyond the promise (instants known to {error_us / 1000:.1f} ms or the length of a call), of what is "
        f"allowed: {shares}{again}."
    )


async def show_changing(running: Fleet, size: Size) -> str:
    """Shows that nothing is beyond the promise while limits are doubled and then cut to a quarter, and every second client's leases end
    with each change. Raises NotShown.
    """
    steps = Steps()

    async def change(everybody: Sequence[Clients]) -> None:
        for number, factor in enumerate((2.0, 0.5), start=2):
            await asyncio.sleep(size.phase_s)
            began_us = _now_us()
            await _replace(running, factor)
            steps.add(factor, began_us, _now_us())
            for clients in everybody:
                for client in clients.each[::2]:
                    client.replan(attributes=number)

    loads = {(rule, "changing"): 2.0 * rule.limit / rule.window_s for rule in RULES}
    run = await _run(running, size.clients, loads, 3 * size.phase_s, change)
    for clients in run.clients:
        over = over_steps(clients.shared, steps, run.error_us)
        ensure(over == 0, f"revisions: {clients.shared.rule.algorithm} admitted {over} beyond the promise")
    admitted = sum(len(clients.shared.admitted) for clients in run.clients)
    returned = sum(clients.tokens.returned for clients in run.clients)
    return (
        f"Limits doubled and then cut to a quarter in mid-flight: {admitted} admitted, 0 beyond the promise, {returned} tokens given back "
        f"unused."
    )


async def _replace(running: Fleet, factor: float) -> None:
    """Replaces the snapshot and waits until every process decides by it."""
    await asyncio.to_thread(running.writer.write, policies_for(factor), running.snapshot)
    wanted = {int(rule.limit * factor) for rule in RULES if rule.algorithm == "FIXED_WINDOW"}
    async with askers(running.addresses, running.api_key) as replicas:
        for replica in replicas:
            seen = await replica.check(Ask("/fixed-window", "probe"))
            while set(seen.limits.values()) != wanted:
                await asyncio.sleep(0.02)
                seen = await replica.check(Ask("/fixed-window", "probe"))


@dataclass
class _Run:
    """What clients did, and how well their instants are known."""

    clients: list[Clients]
    error_us: int


async def _run(
    running: Fleet,
    number: int,
    loads: _Loads,
    seconds: float,
    meanwhile: Callable[[Sequence[Clients]], Awaitable[None]] | None = None,
) -> _Run:
    """Runs ``number`` clients for each identity, each client with a connection of its own."""
    ahead_s = time.time() - time.monotonic()
    async with AsyncExitStack() as open_channels:
        everybody = []
        for rule, user in loads:
            addresses = [running.addresses[index % len(running.addresses)] for index in range(number)]
            each = await open_channels.enter_async_context(askers(addresses, running.api_key))
            everybody.append(Clients(Shared(rule, user), each))
        work = [
            clients.load(per_s, seconds, Random(user + rule.path))  # noqa: S311 - the same load every time
            for clients, ((rule, user), per_s) in zip(everybody, loads.items(), strict=True)
        ]
        await asyncio.gather(*work, *([meanwhile(everybody)] if meanwhile else []))
        for clients in everybody:
            await clients.close()
    drifted_us = int(abs(time.time() - time.monotonic() - ahead_s) * _S)
    return _Run(everybody, _READING_US + drifted_us)


def _now_us() -> int:
    return int(asyncio.get_running_loop().time() * _S)
