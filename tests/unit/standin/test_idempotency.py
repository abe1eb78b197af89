from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.standin.errors import StripeError
from usageflow.standin.idempotency import KEPT_S, Answer, IdempotencyKeys

FIRST, SERVER_ERROR = Answer(200, b"first"), Answer(500, b"error")


@steady
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0, 60, KEPT_S + 1]), st.booleans()), max_size=20
    )
)
def test_within_a_day_a_key_has_one_answer(calls: list[tuple[str, int, bool]]) -> None:
    keys, now_s = IdempotencyKeys(), 0.0
    known: dict[str, tuple[float, Answer]] = {}
    for number, (key, wait_s, works) in enumerate(calls):
        now_s += wait_s
        kept = keys.begin(key, "same", now_s)
        if key in known and now_s - known[key][0] <= KEPT_S:
            assert kept == known[key][1]
            continue
        assert kept is None
        answer = Answer(200 if works else 500, str(number).encode())
        keys.end(key, answer)
        known[key] = (now_s, answer)


def test_another_request_under_a_key_is_refused() -> None:
    keys = IdempotencyKeys()
    keys.begin("k", "one", 0)
    keys.end("k", FIRST)
    with pytest.raises(StripeError) as error:
        keys.begin("k", "another", 1)
    assert (error.value.status, error.value.type) == (400, "idempotency_error")


def test_a_key_in_use_conflicts_and_what_never_began_frees_it() -> None:
    keys = IdempotencyKeys()
    keys.begin("k", "one", 0)
    with pytest.raises(StripeError) as error:
        keys.begin("k", "one", 0)
    assert error.value.status == 409
    keys.end("k", None)
    assert keys.begin("k", "one", 0) is None


def test_an_error_of_the_server_is_kept_too() -> None:
    keys = IdempotencyKeys()
    keys.begin("k", "one", 0)
    keys.end("k", SERVER_ERROR)
    assert keys.begin("k", "one", KEPT_S) == SERVER_ERROR


def test_a_long_key_is_refused() -> None:
    with pytest.raises(StripeError):
        IdempotencyKeys().begin("k" * 256, "one", 0)
