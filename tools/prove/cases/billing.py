"""Units at Stripe are the units of accepted reports, whatever fails: seeded scripts of faults, kills and late news."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

from tools.postgres_servers import PostgresServer
from tools.prove.billed import POLICIES, Owed, Shape, Wave, customers_text, owners, stand_in_objects, wave
from tools.prove.billing_places import EmbeddedPlace, Place, SharedPlace
from tools.prove.billing_scripts import Script, Size, script
from tools.prove.report_clients import ReportClient
from tools.prove.showing import NotShown, ensure
from tools.standin import StandIn

SCRIPTS = 50
_PATIENCE_S = 420.0
"""Longer than a part may wait after an attempt that failed: five minutes."""

_HOUR_S = 3_600


def billing(folder: Path) -> str:
    """50 seeded scripts of lost replies, stored 500s, 429s, time-outs, kills (-9) at every state, racing meters and writers, an emptied
    database, skewed clocks, late events and late mappings: for every customer and price, units at the stand-in for Stripe are those of accepted reports, or the
    difference stands in a named state.
    """
    return show(folder, range(1, SCRIPTS + 1), Size())


def show(folder: Path, seeds: Sequence[int], size: Size) -> str:
    """Shows it for these scripts, two at once; returns the figure. Raises NotShown with the scripts that do
    not hold, once all have run.
    """
    began = time.monotonic()
    told: list[str] = []
    wrong: list[str] = []
    with PostgresServer() as server, ThreadPoolExecutor(2) as hands:
        shown = [hands.submit(show_script, folder / str(seed), script(seed), size, server) for seed in seeds]
        for each in as_completed(shown):
            try:
                told.append(each.result())
                print(f"    {told[-1]}", flush=True)
            except NotShown as error:
                wrong.append(str(error))
                print(f"    DOES NOT HOLD: {error}", flush=True)
    ensure(not wrong, "; ".join(wrong))
    return f"{len(told)} scripts: every ledger equal to the unit; {time.monotonic() - began:.0f} s"


def show_script(folder: Path, plan: Script, size: Size, server: PostgresServer) -> str:
    """Runs one script; returns what became of it. Raises NotShown."""
    folder.mkdir(parents=True)
    with ExitStack() as running:
        stripe = running.enter_context(StandIn())
        stripe.wait_ready()
        stripe.seed(stand_in_objects(size.customers, int(time.time())))
        stripe.advance(plan.stripe_skew_s)
        own = running.enter_context(PostgresServer()) if plan.database_kills else server
        place: Place = SharedPlace(folder, stripe, own) if plan.shared else EmbeddedPlace(folder, stripe)
        running.enter_context(place)
        stripe.faults(plan.faults)
        told = _told(place, stripe, plan, size)
    return f"{plan}: {told}"


def _told(place: Place, stripe: StandIn, plan: Script, size: Size) -> str:
    """Reports in waves while things go wrong; compares both ledgers at the end."""
    draw = random.Random(plan.seed)  # noqa: S311 - no secret
    payers, owed = owners(size.customers), Owed()
    events = kills = 0
    place.apply(POLICIES + customers_text(payers, mapped=not plan.late_mapping))
    for number in range(size.waves):
        if plan.emptied and number == 1:
            stripe.faults([])  # what is under way when a database is lost is lost: so nothing may be
            _until_settled(place, plan)
            place.empty()
            place.apply(POLICIES + customers_text(payers))
            stripe.faults(plan.faults)
        made = wave(draw, payers, _shape(size, plan), time.time_ns() // 1000)
        killing = [_kill(place, plan.kills[number :: size.waves], draw)]
        if isinstance(place, SharedPlace):
            killing.append(_kill_database(place, plan.database_kills, draw))
        kills += asyncio.run(_send(place, made, killing))
        events += made.events
        _add(owed, made.owed)
        if plan.late_mapping and number == 0:
            place.flush()
            place.apply(POLICIES + customers_text(payers))
    stripe.faults([])
    stripe.advance(-plan.stripe_skew_s)
    _until_settled(place, plan)
    difference = _difference(owed, stripe.units())
    ensure(not difference, f"{plan}: {difference} differ; parts {place.states()}")
    return f"{events} events and the counts beside them, {kills} kills, {len(owed)} ledgers equal to the unit"


def _shape(size: Size, plan: Script) -> Shape:
    """Returns the shape of a wave: about hours that have ended."""
    until_s = int(time.time()) // _HOUR_S * _HOUR_S
    return Shape(size.events, size.batches, size.clients, until_s, skew_s=plan.skew_s)


async def _send(place: Place, made: Wave, killing: Sequence[Coroutine[None, None, int]]) -> int:
    """Sends a wave from all of its clients while processes are killed; returns how many were."""
    async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as tasks:
        for calls in made.calls:
            tasks.create_task(_client(place, calls))
        killed = [tasks.create_task(each) for each in killing]
    return sum(each.result() for each in killed)


async def _client(place: Place, calls: list[bytes]) -> None:
    async with ReportClient(place.address, place.api_key) as client:
        for call in calls:
            answer = await client.report(call)
            ensure(not answer.errors, f"refused: {answer.errors[:1]}")


async def _kill(place: Place, kills: Sequence[str], draw: random.Random) -> int:
    """Kills a meter each time that a part is in the state that the script names."""
    for state in kills:
        flushing = asyncio.create_task(asyncio.to_thread(place.flush))
        await asyncio.to_thread(_wait_for, place, state)
        await asyncio.to_thread(place.kill_meter, draw.randrange(2))
        await flushing
    return len(kills)


async def _kill_database(place: SharedPlace, times: int, draw: random.Random) -> int:
    """Kills PostgreSQL under the writers. It ends with the thread that started it, so that the loop itself waits until it is up again."""
    for _ in range(times):
        await asyncio.sleep(draw.uniform(0.1, 1.0))
        place.server.restart()
    return times


def _wait_for(place: Place, state: str) -> None:
    """Returns when a part is in a state, or after ten seconds: then the process is killed at whatever it does."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not place.has_part(state):
        time.sleep(0.01)


def _until_settled(place: Place, plan: Script) -> None:
    """Returns once nothing is open and nothing goes on by itself. Raises NotShown."""
    deadline = time.monotonic() + _PATIENCE_S
    while left := place.unsettled():
        ensure(time.monotonic() < deadline, f"{plan}: not settled after {_PATIENCE_S:.0f} s: {left}")
        place.flush()
        time.sleep(0.5)


def _add(owed: Owed, more: Owed) -> None:
    for key, units in more.items():
        owed[key] = owed.get(key, Decimal(0)) + units


def _difference(owed: Owed, found: Owed) -> Owed:
    """Returns what is owed and not found, and, negative, what is found and not owed."""
    keys = owed.keys() | found.keys()
    both = {key: owed.get(key, Decimal(0)) - found.get(key, Decimal(0)) for key in keys}
    return {key: units for key, units in both.items() if units}
