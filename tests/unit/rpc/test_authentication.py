from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.fakes import FakeControl
from usageflow.domain.attempts import BURST
from usageflow.domain.clock import ManualClock
from usageflow.domain.credentials import Credential, CredentialKind, Role, Scope
from usageflow.domain.errors import Overloaded, PermissionDenied, Unauthenticated, Unavailable
from usageflow.domain.keys import hash_of, make_key
from usageflow.rpc.authentication import Attempts, Authenticator
from usageflow.rpc.principal import Principal, own_application

API_KEY, ADMIN_TOKEN = CredentialKind.API_KEY, CredentialKind.ADMIN_TOKEN
KEY, TOKEN = make_key("uf_live_", bytes(32)), make_key("uf_admin_", bytes(32))


class Noted:
    """Keeps the uses that it is told."""

    def __init__(self, uses: dict[str, int]) -> None:
        self._uses = uses

    def note(self, credential_id: str, now_us: int) -> None:
        self._uses[credential_id] = now_us


class Desk:
    def __init__(self) -> None:
        self.control, self.clock = FakeControl(), ManualClock()
        self.store(KEY, API_KEY, "app-1", application="demo", scopes=frozenset({Scope.AGENT}))
        self.store(TOKEN, ADMIN_TOKEN, "", role=Role.OWNER)
        self.uses: dict[str, int] = {}
        self.attempts = Attempts(uses=Noted(self.uses))
        self.authenticator = Authenticator(self.control, self.clock, self.attempts)

    def store(self, secret: str, kind: CredentialKind, owner: str, **fields: Any) -> None:
        self.control.credentials[hash_of(secret)] = Credential(
            "c", kind, owner, secret[:9], hash_of(secret), **fields
        )

    def change(self, **fields: Any) -> None:
        """Changes the key as it is stored."""
        self.control.credentials[hash_of(KEY)] = replace(self.control.credentials[hash_of(KEY)], **fields)

    async def enter(
        self, authorization: str | None = f"Bearer {KEY}", peer: str = "ipv4:10.0.0.1:5000"
    ) -> Principal:
        return await self.authenticator.authenticate(authorization, "send a key", lambda: peer)

    def revoke(self) -> None:
        self.control.credentials.clear()


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_credential_that_is_not_remembered_is_looked_up_each_time(desk: Desk) -> None:
    desk.authenticator = Authenticator(desk.control, desk.clock, remember_us=0)
    await desk.enter()
    desk.revoke()
    with pytest.raises(Unauthenticated):
        await desk.enter()
    assert desk.control.looked_up == 2


async def test_a_good_credential_opens_what_is_its_own(desk: Desk) -> None:
    agent = Principal(API_KEY, "app-1", KEY[:9], "c", "demo", frozenset({Scope.AGENT}))
    assert await desk.enter() == agent
    owner = Principal(ADMIN_TOKEN, "", TOKEN[:9], "c", role=Role.OWNER)
    assert await desk.enter(f"bearer  {TOKEN} ") == owner
    assert desk.uses == {"c": desk.clock.now_us()}


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "CREDENTIAL_MISSING"),
        ("", "CREDENTIAL_MISSING"),
        ("Bearer", "CREDENTIAL_MISSING"),
        ("Bearer ", "CREDENTIAL_MISSING"),
        (f"Basic {KEY}", "CREDENTIAL_MISSING"),
        (KEY, "CREDENTIAL_MISSING"),
        ("Bearer YOUR_API_KEY", "CREDENTIAL_MALFORMED"),
        (f"Bearer {KEY[:-1]}x", "CREDENTIAL_MALFORMED"),
        (f"Bearer {make_key('uf_live_', b'1' * 32)}", "CREDENTIAL_UNKNOWN"),
    ],
)
async def test_what_opens_nothing(desk: Desk, authorization: str | None, reason: str) -> None:
    with pytest.raises(Unauthenticated) as error:
        await desk.enter(authorization)
    assert error.value.reason == reason
    assert KEY not in str(error.value)
    assert desk.control.looked_up == (1 if reason == "CREDENTIAL_UNKNOWN" else 0)


async def test_most_calls_need_no_look_up(desk: Desk) -> None:
    for _ in range(100):
        await desk.enter()
    assert desk.control.looked_up == 1


async def test_a_revoked_key_is_refused_after_a_second(desk: Desk) -> None:
    await desk.enter()
    desk.revoke()
    desk.clock.advance(seconds=0.49)
    await desk.enter()
    desk.clock.advance(seconds=0.51)
    with pytest.raises(Unauthenticated):
        await desk.enter()


async def test_a_slow_look_up_makes_no_revoked_key_live_longer(desk: Desk) -> None:
    """What was found is as old as the question."""
    find = desk.control.find_credential

    async def slowly(secret_hash: bytes) -> Credential | None:
        found = await find(secret_hash)
        desk.clock.advance(seconds=0.8)
        return found

    desk.control.find_credential = slowly  # type: ignore[method-assign]
    await desk.enter()
    desk.revoke()
    desk.clock.advance(seconds=0.2)
    with pytest.raises(Unauthenticated):
        await desk.enter()


async def test_a_busy_key_is_renewed_behind_its_calls(desk: Desk) -> None:
    await desk.enter()
    desk.clock.advance(seconds=0.6)
    for _ in range(10):
        await desk.enter()
    await settle()
    assert desk.control.looked_up == 2
    desk.revoke()
    desk.clock.advance(seconds=0.6)
    await desk.enter()
    await settle()
    with pytest.raises(Unauthenticated):
        await desk.enter()


async def test_known_keys_outlive_a_silent_database_but_not_its_return(desk: Desk) -> None:
    """While it is silent nobody can revoke a key either; what it says on its return counts at once."""
    await desk.enter()
    desk.control.down = True
    for _ in range(8):
        desk.clock.advance(seconds=0.24)
        await desk.enter()
        await settle()
    desk.control.down = False
    desk.revoke()
    desk.clock.advance(seconds=1)
    with pytest.raises(Unauthenticated):
        await desk.enter()


async def test_a_key_that_was_unknown_is_looked_up_again(desk: Desk) -> None:
    saved = dict(desk.control.credentials)
    desk.revoke()
    with pytest.raises(Unauthenticated):
        await desk.enter()
    desk.control.credentials = saved
    desk.clock.advance(seconds=1)
    assert (await desk.enter()).application_id == "app-1"


async def test_a_clock_that_goes_back_makes_no_key_live_longer(desk: Desk) -> None:
    await desk.enter()
    desk.revoke()
    desk.clock.advance(seconds=-3600)
    with pytest.raises(Unauthenticated):
        await desk.enter()


def test_only_the_keys_own_application_may_be_named() -> None:
    own_application("", "demo")
    own_application("demo", "demo")
    with pytest.raises(PermissionDenied):
        own_application("Demo", "demo")


async def test_an_unseen_key_cannot_enter_while_the_database_is_silent(desk: Desk) -> None:
    desk.control.down = True
    with pytest.raises(Unavailable):
        await desk.enter()


@pytest.mark.parametrize(
    ("ended", "reason"),
    [({"revoked_us": 1}, "CREDENTIAL_REVOKED"), ({"expires_us": 1}, "CREDENTIAL_EXPIRED")],
)
async def test_what_has_ended_says_so_and_what_to_do(desk: Desk, ended: dict[str, int], reason: str) -> None:
    desk.change(**ended)
    with pytest.raises(Unauthenticated, match="ask an owner") as error:
        await desk.enter()
    assert error.value.reason == reason
    assert desk.uses == {}


async def test_an_expiry_counts_at_the_moment_of_use(desk: Desk) -> None:
    desk.change(expires_us=desk.clock.now_us() + 400_000)
    for _ in range(2):
        await desk.enter()
        desk.clock.advance(seconds=0.2)
    with pytest.raises(Unauthenticated) as error:
        await desk.enter()
    assert (error.value.reason, desk.control.looked_up) == ("CREDENTIAL_EXPIRED", 1)


async def test_an_expired_key_stays_expired_while_the_database_is_silent(desk: Desk) -> None:
    desk.change(expires_us=desk.clock.now_us() + 3_000_000)
    await desk.enter()
    desk.control.down = True
    desk.clock.advance(seconds=4)
    with pytest.raises(Unauthenticated):
        await desk.enter()


async def test_a_store_that_finds_another_secret_opens_nothing(desk: Desk) -> None:
    desk.change(secret_hash=bytes(32))
    with pytest.raises(Unauthenticated) as error:
        await desk.enter()
    assert error.value.reason == "CREDENTIAL_UNKNOWN"


def guess(number: int) -> str:
    return f"Bearer {make_key('uf_live_', number.to_bytes(32, 'big'))}"


async def fail(desk: Desk, number: int, peer: str = "ipv4:10.0.0.1:5000") -> Exception:
    with pytest.raises((Unauthenticated, Overloaded)) as error:
        await desk.enter(guess(number), peer)
    return error.value


async def test_a_guesser_is_stopped_before_any_look_up(desk: Desk) -> None:
    told = [await fail(desk, number, f"ipv4:10.0.0.1:{number}") for number in range(1, 31)]
    assert [type(error) for error in told] == [Unauthenticated] * BURST + [Overloaded] * (30 - BURST)
    assert desk.control.looked_up == BURST
    assert desk.attempts.failures == {"CREDENTIAL_UNKNOWN": BURST, "THROTTLED": 30 - BURST}
    last = told[-1]
    assert isinstance(last, Overloaded)
    assert (last.reason, last.retry_after_s) == ("TOO_MANY_FAILURES", 1.0)
    assert isinstance(await fail(desk, 31, "ipv4:10.0.0.2:1"), Unauthenticated)
    desk.clock.advance(seconds=1)
    assert isinstance(await fail(desk, 32), Unauthenticated)
    assert isinstance(await fail(desk, 33), Overloaded)


async def test_who_shares_an_address_with_a_guesser_goes_on(desk: Desk) -> None:
    await desk.enter()
    for number in range(1, 31):
        await fail(desk, number)
    for _ in range(5):
        desk.clock.advance(seconds=0.1)
        assert (await desk.enter()).application == "demo"
    desk.clock.advance(
        seconds=0.55
    )  # not enough for a token: the remembered look-up is too old, its renewal needs none
    await fail(desk, 40)
    assert (await desk.enter()).application == "demo"


async def test_keys_that_no_key_looks_like_are_failures_too_and_none_is_not(desk: Desk) -> None:
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            await desk.enter(None)
    for _ in range(BURST):
        with pytest.raises(Unauthenticated):
            await desk.enter("Bearer nonsense")
    with pytest.raises(Overloaded):
        await desk.enter("Bearer nonsense")
    with pytest.raises(Overloaded):
        await desk.enter()
    assert desk.control.looked_up == 0
