"""A changed limit acts at once: what was used stays used, and only the limit is another."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tools.processes import Service
from tools.prove.asking import Ask, Asker, Seen, askers
from tools.prove.policies import limit, policy, policy_file
from tools.prove.showing import NotShown, ensure
from tools.prove.stores import STORES, Store, on_each

LOW, HIGH = 100, 1_000
ENFORCED_S = 1.0
_HOUR_S = 3_600
_ROUNDS = 8
_PAUSE_S = 1.5
_HOURLY = {
    "fixed-window": "window: 1h",
    "aligned-window": "align: month",
    "token-bucket": "algorithm: TOKEN_BUCKET, window: 1h",
    "sliding-window": "algorithm: SLIDING_WINDOW, window: 1h",
    "concurrency": "algorithm: CONCURRENCY, window: 1h",
}

Apply = Callable[[str], Awaitable[None]]


def change(folder: Path) -> str:
    """Raising a used-up 100/h to 1,000/h frees 900 at once, cutting 1,000/h to 100/h after 900 leaves none: for every algorithm, on
    every store, by `usageflow apply` on a real service, enforced within a second.
    """
    return on_each(STORES, lambda store: show_change(folder / store.name, store))


def show_change(folder: Path, store: Store) -> str:
    """Returns the figure for one store. Raises NotShown."""
    folder.mkdir(parents=True, exist_ok=True)
    with store.settings() as settings, Service(folder / "data", **settings) as service:
        address = service.wait_ready()

        async def apply(policies: str) -> None:
            path = folder / "policies.yaml"
            path.write_text(policies)
            applied = await asyncio.to_thread(service.command, "apply", "-f", str(path))
            ensure(applied.returncode == 0, applied.stderr)

        return asyncio.run(show_changes(address, service.credentials["api_key"], apply))


async def show_changes(address: str, api_key: str, apply: Apply) -> str:
    """Returns the figure for one service; ``apply`` makes a policy file its policies. Raises NotShown."""
    async with askers([address], api_key) as (asker,):
        return await _Changing(asker, apply).until_answered()


class _Changing:
    """One service whose limits are raised and cut, until every request of a round was answered."""

    def __init__(self, asker: Asker, apply: Apply) -> None:
        self._asker = asker
        self._make_policies = apply
        self._slowest_s = 0.0

    async def until_answered(self) -> str:
        for number in range(1, _ROUNDS + 1):
            if await self._round(self._asker, number):
                ensure(self._slowest_s <= ENFORCED_S, f"enforced only {self._slowest_s:.2f} s after apply")
                again = f", after {number - 1} rounds in which the store was too slow" if number > 1 else ""
                return (
                    f"{HIGH - LOW} freed by raising, 0 left after cutting, for {', '.join(_HOURLY)}; "
                    f"enforced {self._slowest_s * 1000:.0f} ms after apply at most{again}"
                )
            await asyncio.sleep(_PAUSE_S)
        raise NotShown(f"in none of {_ROUNDS} rounds did the counters answer every request in time")

    async def _round(self, asker: Asker, number: int) -> bool:
        """Raises and cuts; tells whether all was answered, so that it is shown exactly."""
        raised, cut = f"raised-{number}", f"cut-{number}"
        started = time.monotonic()
        await self._apply(asker, LOW)
        used_up = {name: await _take(asker, name, raised, LOW + 1) for name in _HOURLY}
        await self._apply(asker, HIGH)
        freed = {name: await _take(asker, name, raised, HIGH) for name in _HOURLY}
        before = {name: await _take(asker, name, cut, HIGH - LOW) for name in _HOURLY}
        await self._apply(asker, LOW)
        after = {name: await _take(asker, name, cut, LOW) for name in _HOURLY}
        refilled = math.ceil((time.monotonic() - started) * HIGH / _HOUR_S)
        answered = True
        for name in _HOURLY:
            # A bucket drains and a sliding window moves on while this runs: at most so many more fit.
            more = refilled if name in ("token-bucket", "sliding-window") else 0
            answered &= _shown(f"{name}, at {LOW}/h", used_up[name], LOW, more)
            # What was not answered may have left room.
            room = more + _unanswered(used_up[name])
            answered &= _shown(f"{name}, raised", freed[name], HIGH - LOW, room)
            answered &= _shown(f"{name}, at {HIGH}/h", before[name], HIGH - LOW, 0)
            answered &= _shown(f"{name}, cut", after[name], 0, _unanswered(before[name]))
        return answered

    async def _apply(self, asker: Asker, units: int) -> None:
        """Applies a limit and waits until a decision shows it."""
        policies = (policy(name, f"/{name}", [limit("n", units, how)]) for name, how in _HOURLY.items())
        await self._make_policies(policy_file(policies))
        done = time.monotonic()
        while True:
            asked = time.monotonic()
            seen = await asker.check(Ask("/fixed-window", "probe"))
            if set(seen.limits.values()) == {units}:
                self._slowest_s = max(self._slowest_s, asked - done)
                return
            ensure(time.monotonic() < done + 20, f"{units} an hour was not enforced in 20 s")
            await asyncio.sleep(0.01)


async def _take(asker: Asker, name: str, user: str, times: int) -> list[Seen]:
    asks = [Ask(f"/{name}", user)] * times
    batches = [await asker.batch(asks[first : first + 100]) for first in range(0, times, 100)]
    return [seen for batch in batches for seen in batch]


def _unanswered(seen: Sequence[Seen]) -> int:
    return sum(not one.answered for one in seen)


def _shown(what: str, seen: Sequence[Seen], wanted: int, more: int) -> bool:
    """Ensures that ``wanted`` were admitted, or as many ``more`` as had room by then; tells whether all were answered."""
    admitted, unanswered = sum(one.allowed for one in seen), _unanswered(seen)
    said = f"{what}: {admitted} of {len(seen)} admitted instead of {wanted}, {unanswered} not answered"
    ensure(wanted - unanswered <= admitted <= wanted + more, said)
    return unanswered == 0
