"""Storing reported usage exactly once.

The unique key of report_ids decides: a record whose id goes in is new, and its event and deltas follow in the same
transaction; any other is compared with what went in before. Work is linear in records, with a handful of statements
per call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, select

from usageflow.domain.usage import Outcome, UsageRecord
from usageflow.storage.sql.statements import append_new_rows, chunked, upsert
from usageflow.storage.sql.tables import REPORT_IDS
from usageflow.storage.sql.usage_rows import append_records

_Key = tuple[str, str, int]
"""Application id, record id, day."""

_Groups = Sequence[tuple[str, Sequence[UsageRecord]]]


def ingest(connection: Connection, groups: _Groups, now_us: int) -> list[list[Outcome]]:
    """Stores the new records of the groups and returns an outcome per record."""
    firsts: dict[_Key, UsageRecord] = {}
    for application_id, records in groups:
        for record in records:
            firsts.setdefault((application_id, record.record_id, record.day), record)
    if not firsts:
        return [[] for _ in groups]
    new = _claim(connection, firsts, now_us)
    hashes = {key: record.payload_hash for key, record in firsts.items()}
    hashes |= _stored_hashes(connection, firsts.keys() - new)
    for application_id, accepted in _by_application(firsts, new).items():
        append_records(connection, application_id, accepted)
    return _outcomes(groups, new, hashes)


def _claim(connection: Connection, records: Mapping[_Key, UsageRecord], now_us: int) -> set[_Key]:
    """Inserts the ids and returns those that were not there.

    Nearly always all are new: then one executemany with nothing to fetch does it. Else its work is undone, and the
    slower statement that names what it inserted has the word.
    """
    with connection.begin_nested() as savepoint:
        rows = [(*key, record.payload_hash, now_us) for key, record in records.items()]
        if append_new_rows(connection, REPORT_IDS, rows) == len(rows):
            return set(records)
        savepoint.rollback()
    return _claim_one_by_one(connection, records, now_us)


def _claim_one_by_one(connection: Connection, records: Mapping[_Key, UsageRecord], now_us: int) -> set[_Key]:
    columns = REPORT_IDS.c
    statement = (
        upsert(connection, REPORT_IDS)
        .on_conflict_do_nothing()
        .returning(columns.application_id, columns.record_id, columns.day)
    )
    rows = [
        {
            "application_id": application_id,
            "record_id": record_id,
            "day": day,
            "payload_hash": record.payload_hash,
            "received_us": now_us,
        }
        for (application_id, record_id, day), record in records.items()
    ]
    return {(key[0], key[1], key[2]) for key in connection.execute(statement, rows)}


def _stored_hashes(connection: Connection, keys: Iterable[_Key]) -> dict[_Key, bytes]:
    """Returns the payload hashes that went in with these ids."""
    ids: dict[str, set[str]] = {}
    for application_id, record_id, _ in keys:
        ids.setdefault(application_id, set()).add(record_id)
    columns = REPORT_IDS.c
    hashes: dict[_Key, bytes] = {}
    for application_id, record_ids in ids.items():
        for chunk in chunked(sorted(record_ids)):
            rows = connection.execute(
                select(columns.record_id, columns.day, columns.payload_hash).where(
                    columns.application_id == application_id, columns.record_id.in_(chunk)
                )
            )
            hashes.update(((application_id, record_id, day), hash_) for record_id, day, hash_ in rows)
    return hashes


def _by_application(records: Mapping[_Key, UsageRecord], new: set[_Key]) -> dict[str, list[UsageRecord]]:
    """Returns the new records per application, in the order of the call."""
    accepted: dict[str, list[UsageRecord]] = {}
    for key, record in records.items():
        if key in new:
            accepted.setdefault(key[0], []).append(record)
    return accepted


def _outcomes(groups: _Groups, new: set[_Key], hashes: Mapping[_Key, bytes]) -> list[list[Outcome]]:
    unseen = set(new)

    def outcome(application_id: str, record: UsageRecord) -> Outcome:
        key = (application_id, record.record_id, record.day)
        if key in unseen:
            unseen.remove(key)
            return Outcome.ACCEPTED
        return Outcome.DUPLICATE if hashes[key] == record.payload_hash else Outcome.CONFLICT

    return [[outcome(application_id, record) for record in records] for application_id, records in groups]
