"""Storing reported usage exactly once.

The unique key of report_ids decides: a record whose id goes in is new, and its event and deltas follow in the same
transaction; any other is compared with what went in before. Work grows with the records as sorting them does, with a
handful of statements per call. Several writers may meet: each inserts ids, then names per application, in order of the keys, so none
waits for another in a circle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from usageflow.domain.usage import Outcome, UsageRecord
from usageflow.storage.sql.remembered import Names, Remembered
from usageflow.storage.sql.statements import chunked, claim_rows
from usageflow.storage.sql.tables import REPORT_IDS
from usageflow.storage.sql.usage_rows import append_records

_Key = tuple[str, str, int]
"""Application id, record id, day."""

_Groups = Sequence[tuple[str, Sequence[UsageRecord]]]


@dataclass(frozen=True, slots=True)
class Ingested:
    """An outcome per record, and names to remember once they are committed, by application id."""

    outcomes: list[list[Outcome]]
    names: dict[str, Names]


def ingest(connection: Connection, groups: _Groups, now_us: int, remembered: Remembered) -> Ingested:
    """Stores the new records of the groups."""
    firsts: dict[_Key, UsageRecord] = {}
    for application_id, records in groups:
        for record in records:
            firsts.setdefault((application_id, record.record_id, record.day), record)
    if not firsts:
        return Ingested([[] for _ in groups], {})
    known = _claim(connection, firsts, now_us)
    names = {
        application_id: append_records(
            connection, application_id, accepted, remembered.of(application_id, now_us)
        )
        for application_id, accepted in sorted(_by_application(firsts, known).items())
    }
    return Ingested(_outcomes(connection, groups, firsts, known), names)


def _claim(connection: Connection, records: Mapping[_Key, UsageRecord], now_us: int) -> set[_Key]:
    """Inserts the ids and returns those that were there already; waits for other writers that are at the same ids."""
    rows = [(*key, records[key].payload_hash, now_us) for key in sorted(records)]
    return {(key[0], key[1], key[2]) for key in claim_rows(connection, REPORT_IDS, rows)}


def _stored_hashes(connection: Connection, keys: Iterable[_Key]) -> dict[_Key, bytes]:
    """Returns the payload hashes that went in with these ids."""
    ids: dict[str, set[str]] = {}
    days = {day for _, _, day in keys}
    for application_id, record_id, _ in keys:
        ids.setdefault(application_id, set()).add(record_id)
    columns = REPORT_IDS.c
    hashes: dict[_Key, bytes] = {}
    for application_id, record_ids in ids.items():
        for chunk in chunked(sorted(record_ids)):
            rows = connection.execute(
                select(columns.record_id, columns.day, columns.payload_hash).where(
                    columns.application_id == application_id,
                    columns.record_id.in_(chunk),
                    columns.day.in_(days),  # so that no other partition is looked at
                )
            )
            hashes.update(((application_id, record_id, day), hash_) for record_id, day, hash_ in rows)
    return hashes


def _by_application(records: Mapping[_Key, UsageRecord], known: set[_Key]) -> dict[str, list[UsageRecord]]:
    """Returns the new records per application, in the order of the call."""
    accepted: dict[str, list[UsageRecord]] = defaultdict(list)
    for key, record in records.items():
        if key not in known:
            accepted[key[0]].append(record)
    return accepted


def _outcomes(
    connection: Connection, groups: _Groups, firsts: Mapping[_Key, UsageRecord], known: set[_Key]
) -> list[list[Outcome]]:
    if not known and len(firsts) == sum(len(records) for _, records in groups):  # as nearly always
        return [[Outcome.ACCEPTED] * len(records) for _, records in groups]
    hashes = {key: record.payload_hash for key, record in firsts.items()} | _stored_hashes(connection, known)
    unseen = firsts.keys() - known

    def outcome(application_id: str, record: UsageRecord) -> Outcome:
        key = (application_id, record.record_id, record.day)
        if key in unseen:
            unseen.remove(key)
            return Outcome.ACCEPTED
        return Outcome.DUPLICATE if hashes[key] == record.payload_hash else Outcome.CONFLICT

    return [[outcome(application_id, record) for record in records] for application_id, records in groups]
