"""Decisions go on without the database, and a process starts without it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tools.postgres_servers import PostgresServer
from tools.prove.administration import administrator
from tools.prove.asking import Ask, Asker, askers
from tools.prove.figures import percentile, spread
from tools.prove.policies import limit, policy, policy_file
from tools.prove.showing import ensure
from tools.shared_form import Role, SharedForm, shared_form

P99_S = 0.25
"""With everything on this machine's two cores; the figure tells what it was."""

_PAUSE_S = 0.01
_BACK_S = 20.0
_CACHED_S = 15.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is shown: seconds before, with the database paused, and with it killed; callers of each process."""

    calm_s: float = 5.0
    paused_s: float = 20.0
    killed_s: float = 10.0
    callers: int = 4
    decisions: int = 3


def database_down(folder: Path) -> str:
    """Three decision processes go on deciding while PostgreSQL is paused (SIGSTOP) and killed (-9); one that is killed meanwhile starts from
    its cached snapshot; once PostgreSQL is back, changes are enforced everywhere as before.
    """
    size = Size()
    with (
        PostgresServer() as server,
        shared_form(
            server.url(server.new_database()), folder, policies_at(1_000_000), decisions=size.decisions
        ) as form,
    ):
        return asyncio.run(show_outage(form, server, size))


def policies_at(number: int) -> str:
    """Returns a policy file whose limit is ``number``."""
    return policy_file([policy("first", "/first", [limit("n", number, "window: 1h")])])


@dataclass
class _Load:
    """What was asked in one phase, and what nobody answered."""

    times_s: list[float] = field(default_factory=list)
    unanswered: int = 0

    def judged(self, phase: str, p99_s: float) -> str:
        """Returns the figure. Raises NotShown."""
        ensure(
            not self.unanswered, f"{phase}: {self.unanswered} of {len(self.times_s)} checks were not answered"
        )
        ensure(len(self.times_s) > 100, f"{phase}: only {len(self.times_s)} checks came to an end")
        ensure(percentile(self.times_s, 0.99) < p99_s, f"{phase}: {spread(self.times_s)}")
        return f"{phase}: {len(self.times_s)} checks, {spread(self.times_s)}"


async def show_outage(form: SharedForm, server: PostgresServer, size: Size, p99_s: float = P99_S) -> str:
    """Returns the figure. Raises NotShown."""
    await asyncio.to_thread(_until_cached, form)
    calm = await _phase(form, size.calm_s, size)
    await asyncio.to_thread(server.pause)
    try:
        paused = await _phase(form, size.paused_s, size)
    finally:
        await asyncio.to_thread(server.resume)
    await asyncio.to_thread(server.kill)
    killed = await _phase(form, size.killed_s, size)
    started_s = await _restarted(form, size)
    await asyncio.to_thread(_started_again, server)
    back_s = await _normal(form)
    phases = (("before", calm), ("paused", paused), ("killed", killed))
    return "\n  ".join(
        [
            *(load.judged(phase, p99_s) for phase, load in phases),
            f"a killed process was ready {started_s:.1f} s after its start, without the database",
            f"a change was enforced everywhere {back_s:.1f} s after the database was back",
        ]
    )


def _until_cached(form: SharedForm) -> None:
    for decision in form.decisions:
        decision.wait_until(partial(_is_cached, decision), _CACHED_S)


def _is_cached(decision: Role) -> bool:
    return any((decision.data / "snapshots").glob("*.json"))


def _started_again(server: PostgresServer) -> None:
    server.start()
    server.wait_ready()


async def _phase(form: SharedForm, seconds: float, size: Size) -> _Load:
    """Asks all processes for some seconds."""
    load = _Load()
    async with (
        askers(form.addresses, form.installation.api_key) as all_askers,
        _asking(all_askers, load, size),
    ):
        await asyncio.sleep(seconds)
    return load


@asynccontextmanager
async def _asking(all_askers: Sequence[Asker], load: _Load, size: Size) -> AsyncIterator[None]:
    async def ask(asker: Asker, user: str) -> None:
        while True:
            seen = await asker.check(Ask("/first", user))
            load.times_s.append(seen.came_s - seen.sent_s)
            load.unanswered += not (seen.answered and seen.allowed)
            await asyncio.sleep(_PAUSE_S)

    tasks = [
        asyncio.create_task(ask(asker, f"user-{number}"))
        for asker in all_askers
        for number in range(size.callers)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _restarted(form: SharedForm, size: Size) -> float:
    """Kills a process and starts it on its data folder again; returns the seconds until it was ready, and sees it decide."""
    victim = form.decisions[-1]
    await asyncio.to_thread(victim.stop, 9)
    again = form.installation.role("decision", victim.data.name, USAGEFLOW_LISTEN=form.addresses[-1])
    form.replace(victim, again)
    await asyncio.to_thread(again.wait_ready)
    ensure("deciding by the cached snapshot" in again.output, "it did not say that it decides by its cache")
    asked = await _phase(form, 1.0, size)
    ensure(
        not asked.unanswered, f"with one started from its cache {asked.unanswered} checks were not answered"
    )
    return again.ready_after_s


async def _normal(form: SharedForm) -> float:
    """Changes a limit until that works, and waits for its enforcement; returns the seconds it took."""
    installation, loop = form.installation, asyncio.get_running_loop()
    began = loop.time()
    async with (
        administrator(installation.admin_address, installation.admin_token) as admin,
        askers(form.addresses, installation.api_key) as all_askers,
    ):
        await admin.apply_until(policies_at(77), began + _BACK_S)
        for asker in all_askers:
            while 77 not in (await asker.check(Ask("/first", "somebody"))).limits.values():
                ensure(loop.time() < began + _BACK_S, f"{asker.address} does not enforce what is new")
                await asyncio.sleep(_PAUSE_S)
        took_s = loop.time() - began
    await asyncio.to_thread(_until_reported, form)
    return took_s


def _until_reported(form: SharedForm) -> None:
    """Returns once every running process is said to be current, and none to decide by its cache."""
    pids = {decision.pid for decision in form.decisions}

    def reported() -> bool:
        told = form.installation.command("status", "--output", "json")
        replicas = json.loads(told.stdout)["replicas"] if told.returncode == 0 else []
        current = {
            each["pid"]
            for each in replicas
            if each["live"] and not each["from_cache"] and all(one["current"] for one in each["enforced"])
        }
        return pids <= current

    form.admin.wait_until(reported, _BACK_S)
