"""From a change to its enforcement, with decision processes of their own on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.postgres_servers import PostgresServer
from tools.prove.administration import Administrator, administrator
from tools.prove.asking import Ask, Asker, askers
from tools.prove.figures import percentile, spread
from tools.prove.policies import limit, policy, policy_file
from tools.prove.showing import ensure
from tools.shared_form import SharedForm, shared_form

ENFORCED_S = 1.0
_LOOK_S = 0.005
_GIVE_UP_S = 20.0
_FIRST = 1_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """How much is shown."""

    changes: int = 200
    policies: int = 1_000
    decisions: int = 3


def propagation(folder: Path) -> str:
    """Over 200 changes of one of 1,000 policies, by Apply on a service of its own, three decision processes on one PostgreSQL enforce each
    within a second of the answer, at p99.
    """
    size = Size()
    with (
        PostgresServer() as server,
        shared_form(
            server.url(server.new_database()), folder, policies_at(_FIRST, size), decisions=size.decisions
        ) as form,
    ):
        return asyncio.run(show_propagation(form, size))


def policies_at(number: int, size: Size) -> str:
    """Returns a policy file whose first policy has ``number`` as its limit."""
    others = (
        policy(f"other-{n}", f"/other/{n}/:id", [limit("n", 5, "window: 1h")])
        for n in range(1, size.policies)
    )
    return policy_file([policy("first", "/first", [limit("n", number, "window: 366d")]), *others])


async def show_propagation(form: SharedForm, size: Size, enforced_s: float = ENFORCED_S) -> str:
    """Returns the figure. Raises NotShown."""
    installation, times_s = form.installation, []
    async with (
        administrator(installation.admin_address, installation.admin_token) as admin,
        askers(form.addresses, installation.api_key) as all_askers,
    ):
        for number in range(_FIRST + 1, _FIRST + 1 + size.changes):
            times_s += await _change(admin, all_askers, number, size)
    ensure(percentile(times_s, 0.99) < enforced_s, f"enforced too late: {spread(times_s)}")
    return (
        f"{size.changes} changes of one of {size.policies} policies, {size.decisions} decision processes: "
        f"enforced after {spread(times_s)} (budget: p99 {ENFORCED_S:g} s)"
    )


async def _change(admin: Administrator, all_askers: Sequence[Asker], number: int, size: Size) -> list[float]:
    """Returns the seconds from the answer of Apply to the first decision under it, for each process."""
    await admin.apply(policies_at(number, size))
    saved_s = asyncio.get_running_loop().time()
    return list(await asyncio.gather(*(_enforced(asker, number, saved_s) for asker in all_askers)))


async def _enforced(asker: Asker, number: int, saved_s: float) -> float:
    while True:
        seen = await asker.check(Ask("/first", "anybody"))
        if number in seen.limits.values():
            return max(0.0, seen.sent_s - saved_s)
        ensure(
            seen.came_s < saved_s + _GIVE_UP_S,
            f"{asker.address} did not enforce a change in {_GIVE_UP_S:g} s",
        )
        await asyncio.sleep(_LOOK_S)
