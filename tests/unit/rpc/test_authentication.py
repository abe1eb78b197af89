from __future__ import annotations

import asyncio

import pytest

from tests.unit.fakes import FakeControl
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import PermissionDenied, Unauthenticated, Unavailable
from usageflow.domain.keys import hash_of, make_key
from usageflow.rpc.authentication import Authenticator
from usageflow.rpc.principal import Principal, own_application
from usageflow.storage.ports import Credential, CredentialKind

API_KEY, ADMIN_TOKEN = CredentialKind.API_KEY, CredentialKind.ADMIN_TOKEN
KEY, TOKEN = make_key("uf_live_", bytes(32)), make_key("uf_admin_", bytes(32))


class Desk:
    def __init__(self) -> None:
        self.control, self.clock = FakeControl(), ManualClock()
        for kind, secret in ((API_KEY, KEY), (ADMIN_TOKEN, TOKEN)):
            owner = "app-1" if kind is API_KEY else ""
            self.control.credentials[hash_of(secret)] = Credential(
                "c", kind, owner, secret[:9], hash_of(secret)
            )
        self.authenticator = Authenticator(self.control, self.clock)

    async def enter(
        self, authorization: str | None = f"Bearer {KEY}", kind: CredentialKind = API_KEY
    ) -> Principal:
        return await self.authenticator.authenticate(authorization, kind)

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
    assert await desk.enter() == Principal(API_KEY, "app-1", KEY[:9], "c")
    assert await desk.enter(f"bearer  {TOKEN} ", ADMIN_TOKEN) == Principal(ADMIN_TOKEN, "", TOKEN[:9], "c")


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


@pytest.mark.parametrize(("secret", "kind"), [(KEY, ADMIN_TOKEN), (TOKEN, API_KEY)])
async def test_a_credential_of_the_other_kind_is_denied(
    desk: Desk, secret: str, kind: CredentialKind
) -> None:
    with pytest.raises(PermissionDenied):
        await desk.enter(f"Bearer {secret}", kind)


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
