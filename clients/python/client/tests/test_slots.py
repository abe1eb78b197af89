"""The pure part of slots: what to renew when, and what to give back."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clients.python.client.tests.fake_service import allow, full_plan, slot_plan
from usageflow.client._core.check import read_result
from usageflow.client._core.plan import apply
from usageflow.client._core.slots import Released, Slot, SlotMachine
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire

SECOND = 1_000_000
MINUTE = 60 * SECOND


def holding(*slots: tuple[bytes, int], **fields: Any) -> SlotMachine:
    machine = SlotMachine(**fields)
    for slot_id, life_us in slots:
        machine.hold(Slot(slot_id, life_us), 0)
    return machine


def test_a_slot_is_due_at_half_of_its_life_and_again_after_each_renewal() -> None:
    machine = holding((b"a", MINUTE))
    assert machine.next_due_us() == MINUTE // 2
    assert machine.due(MINUTE // 2 - 1) == []
    assert machine.due(MINUTE // 2) == [b"a"]
    assert machine.next_due_us() is None, "its renewal is on its way"
    assert machine.due(MINUTE) == []
    machine.renewed([b"a"], MINUTE)
    assert machine.next_due_us() == MINUTE + MINUTE // 2


def test_a_renewal_that_failed_is_tried_again_soon() -> None:
    machine = holding((b"a", 8 * SECOND))
    machine.due(4 * SECOND)
    machine.unrenewed([b"a"], 5 * SECOND)
    assert machine.due(6 * SECOND - 1) == []
    assert machine.due(6 * SECOND) == [b"a"]
    machine.renewed([b"a"], 6 * SECOND)
    assert machine.next_due_us() == 10 * SECOND


def test_lives_of_several_lengths_are_due_each_in_its_time() -> None:
    machine = holding((b"long", MINUTE), (b"short", 2 * SECOND), (b"short2", 2 * SECOND))
    assert machine.next_due_us() == SECOND
    assert machine.due(SECOND, at_most=1) == [b"short"]
    assert machine.due(MINUTE) == [b"long", b"short2"]


def test_a_slot_is_given_back_once() -> None:
    machine = holding((b"a", MINUTE))
    assert machine.release(b"a")
    assert not machine.release(b"a")
    assert not machine.release(b"never held")
    assert (len(machine), machine.waiting, machine.next_due_us()) == (0, 1, None)
    assert machine.releases(1) == [Released(b"a", MINUTE)]
    assert machine.releases(1) == []


def test_what_a_failed_call_carried_goes_with_the_next_in_order() -> None:
    machine = holding((b"a", MINUTE), (b"b", MINUTE), (b"c", MINUTE))
    for slot_id in (b"a", b"b", b"c"):
        machine.release(slot_id)
    taken = machine.releases(1, at_most=2)
    machine.unsent(taken)
    assert [item.slot_id for item in machine.releases(1)] == [b"a", b"b", b"c"]


def test_a_slot_that_has_ended_by_itself_is_not_given_back() -> None:
    machine = holding((b"a", SECOND), (b"b", MINUTE))
    machine.due(SECOND // 2)
    machine.unrenewed([b"a"], SECOND // 2)  # nobody answered: it may live on from then
    machine.release(b"a")
    machine.release(b"b")
    assert machine.releases(SECOND // 2 + SECOND - 1, at_most=1)[0].slot_id == b"a"
    machine.unsent([Released(b"a", SECOND // 2 + SECOND)])
    assert [item.slot_id for item in machine.releases(SECOND // 2 + SECOND)] == [b"b"]


def test_what_ends_while_its_renewal_is_on_its_way_stays_ended() -> None:
    machine = holding((b"a", MINUTE), (b"b", MINUTE))
    assert machine.due(MINUTE // 2) == [b"a", b"b"]
    machine.release(b"a")
    machine.forget([b"b"])
    machine.renewed([b"a", b"b"], MINUTE // 2)
    machine.unrenewed([b"a", b"b"], MINUTE // 2)
    assert (len(machine), machine.next_due_us()) == (0, None)
    assert machine.waiting == 1, "one that the service no longer knows needs no release"


def test_memory_is_bounded_and_what_is_dropped_is_counted() -> None:
    machine = holding(*((bytes([n]), MINUTE) for n in range(10)), max_releases=3)
    machine.close()
    assert (len(machine), machine.waiting, machine.dropped) == (0, 3, 7)
    taken = machine.releases(1)
    assert [item.slot_id for item in taken] == [bytes([n]) for n in (7, 8, 9)], "the newest live longest"
    machine.hold(Slot(b"x", MINUTE), 0)
    machine.release(b"x")
    machine.unsent(taken)
    assert (machine.waiting, machine.dropped) == (3, 8)


def test_a_life_of_nothing_causes_no_storm() -> None:
    assert holding((b"a", 1)).next_due_us() == 10_000


def test_holding_a_slot_twice_is_holding_it_once() -> None:
    machine = holding((b"a", MINUTE), (b"a", 2 * SECOND))
    assert (len(machine), machine.due(MINUTE)) == (1, [b"a"])


steps = st.lists(
    st.tuples(
        st.sampled_from(["hold", "release", "due", "renewed", "unrenewed", "forget", "take", "unsent"]),
        st.integers(0, 4),
        st.integers(-SECOND, 3 * SECOND),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps)
def test_every_slot_is_given_back_at_most_once_and_renewed_only_while_it_is_held(given_steps: Any) -> None:
    machine, now_us = SlotMachine(), 0
    held: set[bytes] = set()
    renewing: list[bytes] = []
    taken: list[Released] = []
    for what, n, passed_us in given_steps:
        now_us += passed_us
        slot_id = bytes([n])
        if what == "hold":
            machine.hold(Slot(slot_id, (n + 1) * SECOND), now_us)
            held.add(slot_id)
        elif what == "release":
            assert machine.release(slot_id) == (slot_id in held)
            held.discard(slot_id)
        elif what == "due":
            found = machine.due(now_us)
            assert set(found) <= held
            assert len(set(found)) == len(found)
            renewing += found
        elif what in ("renewed", "unrenewed"):
            getattr(machine, what)(renewing, now_us)
            renewing = []
        elif what == "forget":
            machine.forget([slot_id])
            held.discard(slot_id)
        elif what == "take":
            taken = machine.releases(now_us)
            assert all(item.ends_us > now_us for item in taken)
        else:
            machine.unsent(taken)
            taken = []
        assert len(machine) == len(held)
    assert machine.dropped == 0
    machine.close()
    assert (len(machine), machine.next_due_us()) == (0, None)


def life_of(plan: Any, *limits: wire.LimitState) -> int:
    verdict = read_result(apply(None, plan), allow(slot_id=b"s", limits=limits), 7)
    assert verdict is not None
    assert verdict.slot is not None
    return verdict.slot.life_us


def test_a_slots_life_is_the_limits_window() -> None:
    known, unknown = (wire.LimitState(policy_number=number) for number in (9, 8))
    assert life_of(slot_plan(life_ms=5_000), known) == 5 * SECOND
    assert life_of(slot_plan(life_ms=5_000), unknown) == 5 * SECOND, "the shortest of the plan"
    assert life_of(full_plan(), known) == MINUTE, "a window is no slot's life"
    assert life_of(slot_plan(life_ms=0), known) == MINUTE
    none = read_result(apply(None, slot_plan()), allow(limits=[known]), 7)
    assert none is not None
    assert none.slot is None
    assert none.limits[0].algorithm == common.ALGORITHM_CONCURRENCY
