"""Offers real decision processes a steady load by many identities at once, and keeps what they answer."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tools.prove.asking import Ask, Asker, askers
from tools.prove.policies import limit, policy, policy_file
from tools.prove.readings import JUDGES, Reading
from tools.prove.table_of_accuracy import Cell, Row

_S = 1_000_000
_TICK_S = 0.02
_AT_ONCE = 100
"""Requests in one BatchCheck."""


def policies_for(cells: Sequence[Cell]) -> str:
    """Returns the policy file under which the cells are told apart by path and identity."""
    how = {
        _path(cell): limit("n", cell.limit, f"algorithm: {cell.algorithm}, window: {cell.window_s}s")
        for cell in cells
    }
    return policy_file(policy(path.removeprefix("/"), path, [rule]) for path, rule in how.items())


def _path(cell: Cell) -> str:
    return f"/{cell.algorithm.lower().replace('_', '-')}-{cell.limit}-{cell.window_s}"


@dataclass
class _Offered:
    """One cell's requests."""

    cell: Cell
    ask: Ask
    per_s: float
    late_s: float
    """Up to a gap, so that cells do not come in step."""
    asked: int = 0
    readings: list[Reading] = field(default_factory=list)

    def due(self, elapsed_s: float) -> int:
        """Returns how many requests have come due, and counts them as asked."""
        due = max(0, int((elapsed_s - self.late_s) * self.per_s)) - self.asked
        self.asked += due
        return due

    def row(self) -> Row:
        judged = JUDGES[self.cell.algorithm](self.readings, self.cell.limit, self.cell.window_s * _S)
        return Row(self.cell, False, self.asked, self.asked - len(self.readings), *judged)


async def offer(
    addresses: Sequence[str], api_key: str, cells: Sequence[Cell], seconds: float, *, mark: str = ""
) -> list[Row]:
    """Asks processes that share a store at the load of each cell, all cells at once, each request a random process; returns a row
    for each cell. ``mark`` tells this run's identities from those of others.
    """
    random = Random(1)  # noqa: S311 - the same load every time
    offered = [_offered(cell, mark, random) for cell in cells]
    unix_s = time.time() - asyncio.get_running_loop().time()
    async with askers(addresses, api_key) as replicas:
        calls: list[asyncio.Task[None]] = []
        started_s = time.monotonic()
        while (elapsed_s := time.monotonic() - started_s) < seconds:
            lanes: defaultdict[int, list[_Offered]] = defaultdict(list)
            for one in offered:
                for _ in range(one.due(elapsed_s)):
                    lanes[random.randrange(len(replicas))].append(one)
            for lane, asked in lanes.items():
                for first in range(0, len(asked), _AT_ONCE):
                    part = asked[first : first + _AT_ONCE]
                    calls.append(asyncio.create_task(_ask(replicas[lane], part, unix_s)))
            await asyncio.sleep(_TICK_S)
        await asyncio.gather(*calls)
    return [one.row() for one in offered]


def _offered(cell: Cell, mark: str, random: Random) -> _Offered:
    per_s = cell.load * cell.limit / cell.window_s
    return _Offered(cell, Ask(_path(cell), f"load-{cell.load}{mark}"), per_s, random.random() / per_s)


async def _ask(replica: Asker, offered: Sequence[_Offered], unix_s: float) -> None:
    seen = await replica.batch([one.ask for one in offered])
    for one, answer in zip(offered, seen, strict=True):
        if answer.answered:
            sent_us, came_us = (int((at_s + unix_s) * _S) for at_s in (answer.sent_s, answer.came_s))
            one.readings.append(Reading(sent_us, came_us, answer.allowed, *answer.reset_us.values()))
