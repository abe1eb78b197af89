from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.layered import Layered

changes = st.dictionaries(st.integers(0, 30), st.none() | st.integers(), max_size=8)


@given(st.lists(changes, max_size=20))
@steady
def test_it_equals_a_dictionary_and_its_past_stays(batches: list[dict[int, int | None]]) -> None:
    plain: dict[int, int] = {}
    layered: Layered[int, int] = Layered()
    past = []
    for batch in batches:
        past.append((layered, dict(plain)))
        layered = layered.changed(batch)
        for key, value in batch.items():
            plain.pop(key, None)
            if value is not None:
                plain[key] = value
    for made, expected in [*past, (layered, plain)]:
        assert {key: made.get(key) for key in range(31)} == {key: expected.get(key) for key in range(31)}
        assert bool(made) == bool(expected)


def test_small_changes_leave_a_large_base_alone() -> None:
    layered = Layered({key: key for key in range(10_000)})
    base = layered._base
    for key in range(100):
        layered = layered.changed({key: -1})
    assert layered._base is base
    layered = layered.changed({100: -1})
    assert layered._base is not base
    assert [layered.get(key) for key in (0, 100, 101)] == [-1, -1, 101]
