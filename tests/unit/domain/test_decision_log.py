from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from usageflow.domain.decision_log import LogEntry, LoggedDecision, decision_of, document_of
from usageflow.domain.usage import EndpointName

KEYS = st.tuples(st.sampled_from(["header", "claim", "path_parameter"]), st.text(max_size=5))
VALUES = st.text(max_size=5) | st.binary(min_size=32, max_size=32)

LOGGED = st.builds(
    LoggedDecision,
    at_us=st.integers(0, 2**60),
    revision=st.integers(0, 2**40),
    endpoint=st.builds(EndpointName, st.just("GET"), st.text(min_size=1, max_size=5)),
    path=st.text(max_size=5),
    parameters=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    hidden=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    asked=st.lists(KEYS, max_size=3).map(tuple),
    values=st.lists(st.tuples(KEYS, VALUES), max_size=3).map(tuple),
    client_ip=st.sampled_from(["", "203.0.113.7"]),
    cost=st.integers(0, 10**12),
    percent=st.integers(0, 100),
    leased=st.integers(0, 100),
    allowed=st.booleans(),
    reason=st.sampled_from(["", "BLOCKED"]),
    identity=st.text(max_size=5),
    policies=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    decided_by=st.text(max_size=3),
    degraded=st.booleans(),
)


@given(LOGGED)
def test_what_is_kept_is_read_back(logged: LoggedDecision) -> None:
    entry = LogEntry("app", logged.at_us, logged.revision, document_of(logged))
    assert decision_of(entry) == logged


def test_a_usual_request_takes_little() -> None:
    logged = LoggedDecision(
        at_us=1,
        revision=1,
        endpoint=EndpointName("POST", "/api/transactions"),
        asked=(("header", "x-user-id"),),
        values=((("header", "x-user-id"), "alice"),),
        reason="WITHIN_LIMITS",
        identity="alice",
        policies=("transactions", "everything"),
        decided_by="transactions",
    )
    assert len(document_of(logged)) < 300
