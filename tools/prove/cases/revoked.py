"""A revoked key is dead everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.postgres_servers import PostgresServer
from tools.prove.administration import Administrator, administrator
from tools.prove.asking import Ask, Asker, askers
from tools.prove.figures import spread
from tools.prove.policies import limit, policy, policy_file
from tools.prove.showing import ensure
from tools.shared_form import SharedForm, shared_form
from usageflow.v1 import keys_pb2

DEAD_S = 1.0
POLICIES = policy_file([policy("first", "/first", [limit("n", 1_000_000, "window: 1h")])])
_ASK = Ask("/first", "anybody")
_LOOK_S = 0.02
_GIVE_UP_S = 20.0
_USES = 10
"""Of each key before it is revoked, so that it is remembered as good everywhere."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is shown: keys, and callers of each process that ask all the time with a key that stays."""

    keys: int = 50
    callers: int = 4
    decisions: int = 3


def revoked(folder: Path) -> str:
    """Each of 50 keys, in use at three decision processes on one PostgreSQL and under load, is refused by all three within a second of
    the answer of RevokeApiKey; the others go on.
    """
    size = Size()
    with (
        PostgresServer() as server,
        shared_form(server.url(server.new_database()), folder, POLICIES, decisions=size.decisions) as form,
    ):
        return asyncio.run(show_revoked(form, size))


async def show_revoked(form: SharedForm, size: Size, dead_s: float = DEAD_S) -> str:
    """Returns the figure. Raises NotShown."""
    installation, times_s = form.installation, []
    async with (
        administrator(installation.admin_address, installation.admin_token) as admin,
        askers(form.addresses, installation.api_key) as steady,
    ):
        secrets = [await _create(admin, f"key-{number}") for number in range(size.keys)]
        for secret in secrets:
            await _use(form.addresses, secret, 1)
        load = _Load(steady, size)
        try:
            for number, secret in enumerate(secrets):
                times_s += await _revoke(admin, form.addresses, f"key-{number}", secret)
        finally:
            await load.end()
    ensure(not load.refused, f"{load.refused} of {load.asked} checks with a key that stays were not answered")
    ensure(max(times_s) < dead_s, f"a revoked key went on too long: {spread(times_s)}")
    return (
        f"{size.keys} keys, {size.decisions} decision processes, {load.asked} other checks meanwhile: dead after {spread(times_s)} "
        f"(budget: {DEAD_S:g} s)"
    )


class _Load:
    """Callers whose key stays."""

    def __init__(self, steady: Sequence[Asker], size: Size) -> None:
        self.asked = self.refused = 0
        self._tasks = [asyncio.create_task(self._ask(asker)) for asker in steady for _ in range(size.callers)]

    async def _ask(self, asker: Asker) -> None:
        while True:
            seen = await asker.check(_ASK)
            self.asked += 1
            self.refused += not seen.answered
            await asyncio.sleep(_LOOK_S)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _create(admin: Administrator, name: str) -> str:
    key = keys_pb2.ApiKey(name=name, scopes=[keys_pb2.KEY_SCOPE_AGENT])
    request = keys_pb2.CreateApiKeyRequest(application="demo", api_key=key)
    return (await admin.stub.CreateApiKey(request, metadata=admin.metadata, timeout=20)).secret


async def _use(addresses: Sequence[str], secret: str, times: int) -> None:
    """Uses a key at every process: where a key was good the throttle of failed attempts does not stop it."""
    async with askers(addresses, secret) as users:
        for _ in range(times):
            for user in users:
                ensure((await user.check(_ASK)).answered, "a key was refused before it was revoked")
            await asyncio.sleep(_LOOK_S)


async def _revoke(admin: Administrator, addresses: Sequence[str], name: str, secret: str) -> list[float]:
    """Returns the seconds from the answer to the first refusal, for each process; none of them answers afterwards."""
    await _use(addresses, secret, _USES)
    async with askers(addresses, secret) as users:
        request = keys_pb2.RevokeApiKeyRequest(application="demo", name=name)
        await admin.stub.RevokeApiKey(request, metadata=admin.metadata, timeout=20)
        revoked_s = asyncio.get_running_loop().time()
        times_s = await asyncio.gather(*(_dead(user, revoked_s) for user in users))
        again = [await user.check(_ASK) for user in users]
        ensure(not any(seen.answered for seen in again), f"{name} came back to life")
    return list(times_s)


async def _dead(user: Asker, revoked_s: float) -> float:
    """Returns when the last answer was sent for: what was sent later was refused."""
    last_s = 0.0
    while True:
        seen = await user.check(_ASK)
        if not seen.answered:
            return last_s
        last_s = max(0.0, seen.sent_s - revoked_s)
        ensure(last_s < _GIVE_UP_S, f"{user.address} goes on answering a revoked key")
        await asyncio.sleep(_LOOK_S)
