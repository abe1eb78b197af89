"""A monthly quota outlives kills: of the service, of the Redis that counts, and of both at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tools.processes import Service
from tools.prove.asking import Ask, askers
from tools.prove.policies import limit, policy, policy_file
from tools.prove.showing import NotShown, ensure
from tools.prove.stores import settings_for
from tools.redis_servers import RedisServer

QUOTA = 1_000_000
LOST_S = 1.0
"""The published bound: takes of so many seconds may be lost."""

_RATE = 100
_BATCH = 4
_QUOTA = Ask("/quota", "alice")
_PATIENCE_S = 60
_Kill = Callable[[Service], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How often what is killed. Kills come at another moment of the checkpoints' second each time."""

    both: int = 10
    redis: int = 5
    service: int = 3
    seconds: float = 2.5


def midmonth(folder: Path) -> str:
    """After kill -9 of decision process and Redis in mid-month a monthly quota resumes within one second of takes; also where only
    one of them is killed.
    """
    with RedisServer() as redis:
        return show_kills(folder, redis, Plan())


def show_kills(folder: Path, redis: RedisServer, plan: Plan) -> str:
    """Returns the figure for a Redis that may be killed. Raises NotShown."""
    return asyncio.run(_Month(folder, redis, plan).run())


class Told(NamedTuple):
    """What an answer told: how much of the quota was used then."""

    at_s: float
    used: int


@dataclass
class _Month:
    """A quota of which is taken at a steady rate while things are killed."""

    folder: Path
    redis: RedisServer
    plan: Plan
    told: list[Told] = field(default_factory=list)
    under_way: int = 0
    """Units that were asked for, and no answer came yet."""

    async def run(self) -> str:
        await self._declare()
        kinds = {
            "service and Redis": (self.plan.both, self._kill_both),
            "Redis alone": (self.plan.redis, self._kill_redis),
            "the service alone": (self.plan.service, self._kill_service),
        }
        lines = []
        for name, (rounds, kill) in kinds.items():
            if not rounds:
                continue
            lost_s = [await self._round(name, kill, number / rounds) for number in range(rounds)]
            lines.append(f"{name} killed {rounds} times: at most {max(lost_s):.2f} s of takes lost")
        return f"at {_RATE} takes a second: " + "; ".join(lines)

    async def _declare(self) -> None:
        path = self.folder / "policies.yaml"
        path.write_text(policy_file([policy("quota", "/quota", [limit("monthly", QUOTA, "align: month")])]))
        with self._service() as service:
            await asyncio.to_thread(service.wait_ready)
            applied = await asyncio.to_thread(service.command, "apply", "-f", str(path))
            ensure(applied.returncode == 0, applied.stderr)
            await asyncio.to_thread(service.stop)

    def _service(self) -> Service:
        return Service(self.folder / "data", **settings_for(self.redis.url))

    async def _round(self, name: str, kill: _Kill, phase: float) -> float:
        """Takes, kills, comes back; returns how long before the kill the oldest take was that is lost. Raises NotShown."""
        with contextlib.ExitStack() as running:
            service = running.enter_context(self._service())
            await self._used(service)
            taking = asyncio.create_task(self._take(service))
            await asyncio.sleep(self.plan.seconds + phase)
            killed_s = time.monotonic()
            kill(service)
            taking.cancel()
            await asyncio.wait([taking])
            after = running.enter_context(await asyncio.to_thread(self._again, service))
            used = await self._used(after)
            await asyncio.to_thread(after.stop)
        ensure(len(self.told) > 0, f"{name}: nothing was taken before the kill")
        # What was under way may be counted, and would hide as many that are lost.
        lost = [one for one in self.told if one.used > used - self.under_way]
        lost_s = killed_s - lost[0].at_s if lost and self.told[-1].used > used else 0.0
        said = f"{self.told[-1].used} were used, and {used} afterwards: the oldest was taken {lost_s:.2f} s before the kill"
        ensure(lost_s <= LOST_S, f"{name} killed: {said}")
        return lost_s

    def _kill_both(self, service: Service) -> None:
        os.kill(service.pid, signal.SIGKILL)
        self.redis.kill()
        service.stop(signal.SIGKILL)  # waits until it is gone

    def _kill_redis(self, service: Service) -> None:
        self.redis.kill()

    def _kill_service(self, service: Service) -> None:
        service.stop(signal.SIGKILL)

    def _again(self, service: Service) -> AbstractContextManager[Service]:
        """Starts again what was killed; Redis is empty then."""
        if not self.redis.is_running:
            self.redis.start()
            self.redis.wait_ready()
        return nullcontext(service) if service.is_running else self._service()

    async def _take(self, service: Service) -> None:
        """Takes at the rate until cancelled."""
        self.told.clear()
        async with askers([service.wait_ready()], service.credentials["api_key"]) as (asker,):
            due_s = time.monotonic()
            while True:
                self.under_way = _BATCH
                seen = await asker.batch([_QUOTA] * _BATCH)
                self.under_way = 0
                self.told += [
                    Told(one.came_s, QUOTA - min(one.remaining.values())) for one in seen if one.answered
                ]
                due_s += _BATCH / _RATE
                await asyncio.sleep(due_s - time.monotonic())

    async def _used(self, service: Service) -> int:
        """Returns how much of the quota is used, once the counters answer; takes nothing."""
        address = await asyncio.to_thread(service.wait_ready)
        deadline_s = time.monotonic() + _PATIENCE_S
        async with askers([address], service.credentials["admin_token"]) as (admin,):
            while time.monotonic() < deadline_s:
                left = await admin.left("demo", _QUOTA)
                if left:
                    return QUOTA - left["quota/monthly"]
                await asyncio.sleep(0.05)
        raise NotShown(f"the counters did not answer in {_PATIENCE_S} s:\n{service.output}")
