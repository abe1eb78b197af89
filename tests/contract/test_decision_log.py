"""The contract of DecisionLog."""

from __future__ import annotations

from usageflow.domain.decision_log import LogEntry
from usageflow.storage.decision_log import START, DecisionLog

DAY_US = 86_400_000_000


def entry(at_us: int, document: str = "{}", application_id: str = "app") -> LogEntry:
    return LogEntry(application_id, at_us, 7, document)


async def read(
    store: DecisionLog, application_id: str = "app", since_us: int = 0, until_us: int = 2**62
) -> list[LogEntry]:
    """Reads everything, two entries at a time."""
    found: list[LogEntry] = []
    after = START
    while page := await store.read(
        application_id, since_us=since_us, until_us=until_us, after=after, limit=2
    ):
        assert len(page) <= 2
        after = page[-1][0]
        found += [each for _, each in page]
    return found


async def test_a_log_begins_empty(decision_log: DecisionLog) -> None:
    await decision_log.append([])
    assert await read(decision_log) == []


async def test_entries_are_read_in_order_of_time_then_as_they_were_stored(
    decision_log: DecisionLog, other_decision_log: DecisionLog
) -> None:
    await decision_log.append([entry(5, '{"n":"ü"}'), entry(1), entry(5, "b"), entry(5, "c")])
    await decision_log.append([entry(3), entry(5, "d")])
    expected = [entry(1), entry(3), entry(5, '{"n":"ü"}'), entry(5, "b"), entry(5, "c"), entry(5, "d")]
    assert await read(other_decision_log) == expected


async def test_a_span_holds_its_beginning_and_not_its_end(decision_log: DecisionLog) -> None:
    await decision_log.append([entry(number) for number in range(6)])
    assert [each.at_us for each in await read(decision_log, since_us=2, until_us=5)] == [2, 3, 4]


async def test_applications_are_apart(decision_log: DecisionLog) -> None:
    await decision_log.append([entry(1), entry(2, application_id="other")])
    assert await read(decision_log, "other") == [entry(2, application_id="other")]


async def test_what_is_older_than_an_application_keeps_is_forgotten(
    decision_log: DecisionLog, application_id: str
) -> None:
    now_us = 100 * DAY_US
    kept = entry(now_us - 36 * DAY_US, application_id=application_id)
    old = entry(kept.at_us - 1, application_id=application_id)
    await decision_log.append([old, kept])
    assert await decision_log.purge(now_us=now_us) == 1
    assert await read(decision_log, application_id) == [kept]
    assert await decision_log.purge(now_us=now_us) == 0
