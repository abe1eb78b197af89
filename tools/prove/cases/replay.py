"""A replay tells, before a stricter revision is applied, what it would deny: request by request what a service with it denies."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.processes import Service
from tools.prove.asking import Ask, askers
from tools.prove.policies import limit, policy, policy_file
from tools.prove.showing import ensure

_LOGGED_S = 1.0
"""Until the last decision is in the log for certain."""

UNREAD = "header x-tenant was not kept: no policy read it"


@dataclass(frozen=True, slots=True)
class Size:
    """How many requests of how many callers, and of those the share whose policy reads what the log does not hold."""

    requests: int = 3_000
    users: int = 40
    seed: int = 7


def replay(folder: Path) -> str:
    """What `usageflow replay` calls newly denied by a stricter policy file is, request by request, what a second service that
    enforces it denies of the same 3,000 requests; what the log cannot tell is listed, and none of it is guessed.
    """
    return show_replay(folder, Size())


def show_replay(folder: Path, size: Size) -> str:
    """Returns the figure. Raises NotShown."""
    traffic = _traffic(size)
    loose, strict = _file(folder / "loose.yaml", 100, ""), _file(folder / "strict.yaml", 20, "by-tenant")
    with Service(folder / "first") as first:
        seen = _served(first, loose, traffic, log=True)
        told = _replayed(first, "--policies", str(strict))
        _done(first, "apply", "-f", str(strict))
        again = _replayed(first, "--revision", "0")
        ensure(
            again["newly_denied"] == told["newly_denied"],
            "the file and its revision are replayed differently",
        )
    with Service(folder / "second") as second:
        judged = _served(second, strict, traffic, log=False)
    return _compared(traffic, seen, judged, told)


def _file(path: Path, units: int, tenants: str) -> Path:
    """Writes a policy file. With ``tenants`` what is below /tenants is counted by a header that nobody read before."""
    policies = [policy("orders", "/orders", [limit("hourly", units, "window: 1h")])]
    policies.append(
        policy("bursts", "/bursts", [limit("bucket", units, "algorithm: TOKEN_BUCKET, window: 366d")])
    )
    policies.append(
        policy("tenants", "/tenants", [limit("hourly", units, "window: 1h")], strategy=tenants or "by-user")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(policy_file(policies))
    return path


def _traffic(size: Size) -> list[Ask]:
    """Returns requests in an order that is the same each time; some callers come far more often than others."""
    chance = random.Random(size.seed)  # noqa: S311 - the same traffic each time, nothing secret
    asks = []
    for _ in range(size.requests):
        user = f"user-{min(int(chance.expovariate(6 / size.users)), size.users - 1)}"
        path = chance.choices(["/orders", "/bursts", "/tenants", "/free"], [5, 3, 1, 1])[0]
        asks.append(Ask(path, user, tenant=f"tenant-{len(user)}"))
    return asks


def _served(service: Service, policies: Path, traffic: Sequence[Ask], *, log: bool) -> list[bool]:
    """Returns which requests a service with these policies lets pass."""
    address = service.wait_ready()
    _done(service, "apply", "-f", str(policies), "--prune")
    if log:
        _done(service, "applications", "update", "demo", "--decision-log", "100")
    return asyncio.run(_asked(address, service.credentials["api_key"], policies, traffic))


async def _asked(address: str, api_key: str, policies: Path, traffic: Sequence[Ask]) -> list[bool]:
    # A second: until policies and settings are in force for certain.
    await asyncio.sleep(1.0)
    async with askers([address], api_key) as (asker,):
        seen = [await asker.check(ask) for ask in traffic]
    ensure(all(one.answered for one in seen), f"{policies.name}: a fail mode decided some requests")
    return [one.allowed for one in seen]


def _replayed(service: Service, *by: str) -> dict[str, Any]:
    time.sleep(_LOGGED_S)
    answer = _done(service, "replay", *by, "--since", "1h", "--each", "--output", "json")
    told: dict[str, Any] = json.loads(answer)
    return told


def _done(service: Service, *arguments: str) -> str:
    ran = service.command(*arguments)
    ensure(ran.returncode == 0, f"usageflow {arguments[0]}: {ran.stderr}")
    return ran.stdout


def _compared(
    traffic: Sequence[Ask], seen: Sequence[bool], judged: Sequence[bool], told: dict[str, Any]
) -> str:
    """Compares, one by one and in order: what the log can tell must come out as the second service decided it."""
    unread = [ask.path == "/tenants" for ask in traffic]
    ensure(told["requests"] == len(traffic), f"{told['requests']} of {len(traffic)} requests are in the log")
    listed = [(each["because"], each["requests"]) for each in told["undecidable"]]
    ensure(listed == [(UNREAD, sum(unread))], f"not decidable: {listed} instead of {sum(unread)}")
    wanted = [
        (f"POST {ask.path}", ask.user)
        for ask, passed, passes, hidden in zip(traffic, seen, judged, unread, strict=True)
        if passed and not passes and not hidden
    ]
    found = [(each["endpoint"], each["identity"]) for each in told["newly_denied"]["each"]]
    first = next(
        (at for at, (one, other) in enumerate(zip(wanted, found, strict=False)) if one != other), None
    )
    ensure(
        wanted == found, f"{len(found)} newly denied instead of {len(wanted)}, the first other one is {first}"
    )
    ensure(bool(wanted), "the stricter file denied nothing more: nothing was shown")
    ensure(told["newly_allowed"]["requests"] == 0, "a stricter file allowed more")
    return (
        f"of {len(traffic):,} logged requests {len(found)} newly denied by the replay and by the service, one by one; "
        f"{sum(unread)} not decidable, all told"
    )
