from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.credentials import (
    Credential,
    CredentialKind,
    CredentialState,
    Environment,
    Role,
    rotated_name,
    secret_prefix,
)

OWNER = Credential("c", CredentialKind.ADMIN_TOKEN, "", "uf_admin_ab", bytes(32), role=Role.OWNER)
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def test_each_role_covers_those_below_it() -> None:
    covered = {role: [other for other in Role if role.covers(other)] for role in Role}
    assert covered == {
        Role.VIEWER: [Role.VIEWER],
        Role.EDITOR: [Role.VIEWER, Role.EDITOR],
        Role.OWNER: [Role.VIEWER, Role.EDITOR, Role.OWNER],
    }


def test_it_ends_at_the_instant_that_was_named() -> None:
    ending = replace(OWNER, expires_us=100)
    assert [ending.state_at(now_us) for now_us in (99, 100)] == [
        CredentialState.ACTIVE,
        CredentialState.EXPIRED,
    ]
    assert replace(ending, revoked_us=1).state_at(200) is CredentialState.REVOKED


def test_who_can_always_repair_everything() -> None:
    assert OWNER.is_lasting_owner
    for fields in (
        {"expires_us": 2**60},
        {"revoked_us": 1},
        {"application_id": "app-1"},
        {"role": Role.EDITOR},
    ):
        assert not replace(OWNER, **fields).is_lasting_owner


@pytest.mark.parametrize("environment", Environment)
def test_the_environment_shows_in_the_key(environment: Environment) -> None:
    prefix = secret_prefix(CredentialKind.API_KEY, environment)
    assert replace(OWNER, prefix=f"{prefix}abcd").environment is environment
    assert secret_prefix(CredentialKind.ADMIN_TOKEN, environment) == "uf_admin_"


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [
        ("billing", set(), "billing-2"),
        ("billing", {"billing-2", "billing-3"}, "billing-4"),
        ("billing-2", {"billing-2"}, "billing-3"),
        ("a-99", set(), "a-100"),
        ("a" * 63, set(), "a" * 61 + "-2"),
    ],
)
def test_names_of_successors_count_up(name: str, taken: set[str], expected: str) -> None:
    assert rotated_name(name, frozenset(taken)) == expected


@steady
@given(st.from_regex(NAME, fullmatch=True), st.integers(0, 120))
def test_successors_have_good_names_of_their_own(name: str, times: int) -> None:
    taken = {name}
    for _ in range(times):
        name = rotated_name(name, frozenset(taken))
        assert NAME.fullmatch(name)
        assert name not in taken
        taken.add(name)
