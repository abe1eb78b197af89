from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.domain.audit import GENESIS, AuditEntry, ChainBreak, ChainCheck, ChainedEntry, chained

ENTRY = AuditEntry(1, 1_000, "id-1", "ipv4:10.0.0.1:9", "Apply", "app-1", "CREATED", "policy", "p", 7, "r-1")


def chain_of(length: int) -> list[ChainedEntry]:
    return list(chained(GENESIS, [replace(ENTRY, sequence=number) for number in range(1, length + 1)]))


def broken_at(links: list[ChainedEntry]) -> int:
    """Returns the sequence where the chain breaks, 0 where it does not."""
    check = ChainCheck()
    for link in links:
        found = check.follow(link)
        if found is not None:
            return found.sequence
    return 0


def test_a_chain_that_nobody_touched_holds_and_ends_at_its_head() -> None:
    links, check = chain_of(5), ChainCheck()
    assert [check.follow(link) for link in links] == [None] * 5
    assert (check.sequence, check.digest) == (5, links[-1].digest)


def test_the_hash_is_the_same_for_ever() -> None:
    """Logs outlive versions: another spelling of the hash would break every chain that exists."""
    assert chain_of(2)[-1].digest.hex() == "addaa282ebb727bd5e244b10a852a8c08f827d75668d6023c8542e2964877e31"


@pytest.mark.parametrize("name", [field.name for field in fields(AuditEntry)][1:])
def test_a_changed_field_breaks_the_chain_there(name: str) -> None:
    links = chain_of(3)
    value = getattr(ENTRY, name)
    other: Any = value + 1 if isinstance(value, int) else value + "x"
    changed = replace(links[1].entry, **{name: other})
    assert broken_at([links[0], ChainedEntry(changed, links[1].digest), links[2]]) == 2


def test_an_entry_that_was_rewritten_with_its_hash_breaks_the_next_one() -> None:
    links = chain_of(3)
    forged = next(chained(links[0].digest, [replace(links[1].entry, resource_id="other")]))
    assert broken_at([links[0], forged, links[2]]) == 3


def test_a_removed_entry_is_missed() -> None:
    links = chain_of(3)
    check = ChainCheck()
    check.follow(links[0])
    assert check.follow(links[2]) == ChainBreak(2, "is missing: the next entry is 3")


def test_an_inserted_entry_is_noticed() -> None:
    links = chain_of(3)
    assert broken_at([links[0], links[0], *links[1:]]) == 2


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_no_two_entries_spell_the_same_bytes(texts: list[str]) -> None:
    """What moves from one field to the next is another entry."""
    one = replace(ENTRY, actor_id=texts[0], peer=texts[1])
    other = replace(ENTRY, actor_id=texts[1], peer=texts[0])
    joined = replace(ENTRY, actor_id=texts[0] + texts[1], peer="")
    digests = {next(chained(GENESIS, [entry])).digest for entry in {one, other, joined}}
    assert len(digests) == len({one, other, joined})
