from __future__ import annotations

import asyncio

import pytest

from decision.keyring import FIRST_RETRY_S, MAX_AGE_S, RETRY_S, KeyRing
from decision.tokens import TokenReader
from tests.unit.fakes import snapshot, strategy
from tests.unit.tokens import jwks, jwt_source, token
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import Unavailable
from usageflow.domain.identity import Attributes, Identity
from usageflow.domain.snapshot import Snapshot

URL = "https://id.example/jwks.json"


class FakeIssuer:
    def __init__(self, *kids: str) -> None:
        self.document = jwks(*kids)
        self.down = False
        self.fetched = 0
        self.asked = asyncio.Event()

    async def fetch(self, url: str) -> bytes:
        assert url == URL
        self.fetched += 1
        self.asked.set()
        if self.down:
            raise Unavailable("down")
        return self.document


class Bench:
    def __init__(self, *kids: str) -> None:
        self.clock = ManualClock()
        self.issuer = FakeIssuer(*kids)
        self.ring = KeyRing(self.issuer, self.clock)
        self.reader = TokenReader(self.ring, self.clock)
        self.state: Snapshot = snapshot(strategies=[strategy("s", sources=[jwt_source(jwks_url=URL)])])
        self.reader.prepare(self.state)

    def who(self, kid: str = "k1") -> Identity | None:
        sent = Attributes.of([(("jwt", "bearer"), token(kid))], "203.0.113.1")
        read = self.reader.read(self.state, sent)
        assert not read.values, "no token goes any further"
        return self.state.strategies[0].resolve(read, self.state.hash_key)

    async def after(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)
        await self.ring.refresh()


ALICE = Identity("v:alice", "jwt sub", verified=True)


async def test_keys_are_fetched_before_a_token_comes_and_not_again_for_each() -> None:
    bench = Bench("k1")
    assert bench.who() != ALICE
    await bench.ring.refresh()
    assert [bench.who() for _ in range(3)] == [ALICE] * 3
    await bench.ring.refresh()
    assert bench.issuer.fetched == 1


async def test_an_unknown_key_is_fetched_at_most_once_a_minute() -> None:
    bench = Bench("k1")
    await bench.ring.refresh()
    for _ in range(int(RETRY_S) - 1):
        assert bench.who("k2") != ALICE
        await bench.after(1)
    assert bench.issuer.fetched == 1
    bench.issuer.document = jwks("k1", "k2")
    await bench.after(1)
    assert bench.issuer.fetched == 2
    assert bench.who("k2") == bench.who("k1") == ALICE


async def test_a_key_that_was_withdrawn_verifies_no_more_once_the_keys_are_old() -> None:
    bench = Bench("k1")
    await bench.ring.refresh()
    bench.issuer.document = jwks("k2")
    await bench.after(MAX_AGE_S - 1)
    assert bench.who("k1") == ALICE
    await bench.after(1)
    assert bench.who("k1") != ALICE
    assert bench.who("k2") == ALICE


async def test_the_last_good_keys_are_kept_while_the_issuer_is_down_or_talks_nonsense() -> None:
    bench = Bench("k1")
    await bench.ring.refresh()
    bench.issuer.down = True
    await bench.after(MAX_AGE_S)
    assert bench.who() == ALICE
    bench.issuer.down, bench.issuer.document = False, b"<html>"
    await bench.after(RETRY_S)
    assert bench.issuer.fetched == 3
    assert bench.who() == ALICE


async def test_an_issuer_that_was_never_there_is_asked_again_soon() -> None:
    bench = Bench("k1")
    bench.issuer.down = True
    await bench.ring.refresh()
    bench.issuer.down = False
    await bench.after(FIRST_RETRY_S - 1)
    assert bench.who() != ALICE
    await bench.after(1)
    assert bench.who() == ALICE


async def test_the_task_fetches_as_soon_as_something_is_asked_for() -> None:
    bench = Bench("k1")
    task = asyncio.create_task(bench.ring.run())
    async with asyncio.timeout(5):
        await bench.issuer.asked.wait()
        await bench.ring.refresh()  # waits for the one that runs
    assert bench.who() == ALICE
    task.cancel()


async def test_what_no_policy_names_is_forgotten() -> None:
    bench = Bench("k1")
    await bench.ring.refresh()
    bench.ring.use("app-1", [])
    bench.ring.missed(URL)
    assert bench.ring.keys(URL) == ()


def test_hashes_and_two_different_tokens_are_missing() -> None:
    bench = Bench("k1")
    for values in ([b"\0" * 32], [token("k1"), token("k2")]):
        read = bench.reader.read(bench.state, Attributes({("jwt", "bearer"): values}))
        assert (read.values, read.claims) == ({}, {})


async def test_a_signature_is_checked_once_and_the_time_every_time() -> None:
    bench = Bench("k1")
    await bench.ring.refresh()
    assert bench.who() == ALICE
    (remembered,) = bench.reader._signed
    assert token("k1").encode() not in remembered[1]
    bench.clock.advance(seconds=700)
    assert bench.who() != ALICE, "it has expired meanwhile"


def test_remembered_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decision.tokens._REMEMBERED", 2)
    clock = ManualClock()
    reader = TokenReader(KeyRing(FakeIssuer(), clock), clock)
    state = snapshot(strategies=[strategy("s", sources=[jwt_source()])])
    for name in "abc":
        read = reader.read(state, Attributes({("jwt", "bearer"): [token(sub=name)]}))
        assert state.strategies[0].resolve(read, b"") == Identity(f"v:{name}", "jwt sub", verified=True)
    assert len(reader._signed) == 2
