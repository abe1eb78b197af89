"""The rows that lead to a person; each function runs inside the transaction of an erasure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from usageflow.domain.errors import FailedPrecondition, NotFound
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.units import format_units
from usageflow.storage.erasing import Erasure
from usageflow.storage.sql.queries import unit_sums, units_of_sums
from usageflow.storage.sql.statements import chunked
from usageflow.storage.sql.tables import (
    BLOCKS,
    CUSTOMER_IDENTITIES,
    CUSTOMERS,
    IDENTITIES,
    METERING_DELTAS,
    WINDOW_CHECKPOINTS,
)

if TYPE_CHECKING:
    from usageflow.storage.sql.erasing import Wanted

_NONE = "[]"
_KEY_PARTS = 6
"""Parts of a counter's key before the identity (usageflow.domain.snapshot.CompiledLimit)."""


def hashes(
    connection: Connection, application_id: str, hash_key: bytes, erasure: Erasure
) -> frozenset[bytes]:
    """Returns the hashes of whoever is to be forgotten. Raises NotFound for a customer who never was."""
    if not erasure.customer:
        return frozenset([keyed_hash(hash_key, erasure.identity)])
    table, owned = CUSTOMERS.c, CUSTOMER_IDENTITIES.c
    row = connection.execute(
        select(table.identities).where(table.application_id == application_id, table.name == erasure.customer)
    ).one_or_none()
    if row is None:
        message = (
            f"there is no customer {erasure.customer[:64]!r}: see `usageflow customers list --show-deleted`"
        )
        raise NotFound(message, reason="CUSTOMER_NOT_FOUND")
    entered = select(owned.identity_hash, owned.customer).where(owned.application_id == application_id)
    theirs = {each for each, _ in connection.execute(entered.where(owned.customer == erasure.customer))}
    kept = [bytes.fromhex(each) for each in json.loads(row.identities)]
    # What a deleted customer had may be another's by now.
    taken = {
        each
        for chunk in chunked(kept)
        for each, _ in connection.execute(entered.where(owned.identity_hash.in_(chunk)))
    }
    return frozenset(theirs | (set(kept) - taken))


def ensure_payable(connection: Connection, wanted: Wanted, known: dict[int, str], erasure: Erasure) -> None:
    """Raises FailedPrecondition (HELD_UNITS) where open units belong to no customer and may not be discarded."""
    _ensure_payable(connection, wanted, known, erasure, _payers(connection, wanted, known, erasure))


def _ensure_payable(
    connection: Connection, wanted: Wanted, known: dict[int, str], erasure: Erasure, payers: dict[int, str]
) -> None:
    if erasure.discard_unbilled:
        return
    held = [number for number in known if number not in payers]
    units = sum(
        (_open_units(connection, wanted.application_id, chunk) for chunk in chunked(held)), Decimal(0)
    )
    if units:
        message = (
            f"{format_units(units)} metered units wait to be billed and belong to no customer: enter the identity with a customer "
            "first, or add --discard-unbilled to delete them"
        )
        raise FailedPrecondition(message, reason="HELD_UNITS")


def settle_units(
    connection: Connection, wanted: Wanted, known: dict[int, str], erasure: Erasure
) -> tuple[Decimal, Decimal]:
    """Binds open units to who pays for them, and deletes the others where that was asked for; returns both sums."""
    payers = _payers(connection, wanted, known, erasure)
    _ensure_payable(connection, wanted, known, erasure, payers)
    by_payer: dict[str, list[int]] = {}
    for number in known:
        by_payer.setdefault(payers.get(number, ""), []).append(number)
    bound = discarded = Decimal(0)
    for payer, numbers in by_payer.items():
        for chunk in chunked(numbers):
            units = _open_units(connection, wanted.application_id, chunk)
            is_open = _open(wanted.application_id, chunk)
            if payer:
                connection.execute(update(METERING_DELTAS).where(is_open).values(customer=payer))
                bound += units
            else:
                connection.execute(delete(METERING_DELTAS).where(is_open))
                discarded += units
    return bound, discarded


def _payers(
    connection: Connection, wanted: Wanted, known: dict[int, str], erasure: Erasure
) -> dict[int, str]:
    """Returns who pays, by pseudonym: `cus_...`, which tells nobody who that is, else the customer's name."""
    owned, table = CUSTOMER_IDENTITIES.c, CUSTOMERS.c
    accounts = select(table.name, table.stripe_customer).where(table.application_id == wanted.application_id)
    if erasure.customer:
        payer = {
            name: account or name
            for name, account in connection.execute(accounts.where(table.name == erasure.customer))
        }
        return dict.fromkeys(known, payer.get(erasure.customer, ""))
    owner = connection.scalar(
        select(owned.customer).where(
            owned.application_id == wanted.application_id, owned.identity_hash.in_(list(wanted.hashes))
        )
    )
    if owner is None:
        return {}
    account = connection.execute(accounts.where(table.name == owner)).one()
    return dict.fromkeys(known, account.stripe_customer or owner)


def _open(application_id: str, pseudonyms: Sequence[int]) -> ColumnElement[bool]:
    table = METERING_DELTAS.c
    return and_(
        table.application_id == application_id,
        table.part.is_(None),
        table.customer.is_(None),
        table.pseudonym.in_(pseudonyms),
    )


def _open_units(connection: Connection, application_id: str, pseudonyms: Sequence[int]) -> Decimal:
    table = METERING_DELTAS.c
    sums = (func.coalesce(each, 0) for each in unit_sums(table.whole, table.pico))
    row = connection.execute(select(*sums).where(_open(application_id, pseudonyms))).one()
    return units_of_sums(*tuple(row))


def forget_mapping(connection: Connection, application_id: str, pseudonyms: Sequence[int]) -> int:
    """Deletes the only rows that know who the pseudonyms are; returns how many there were."""
    table = IDENTITIES
    return sum(
        connection.execute(
            delete(table).where(table.c.application_id == application_id, table.c.pseudonym.in_(chunk))
        ).rowcount
        for chunk in chunked(pseudonyms)
    )


def forget_in_directory(
    connection: Connection, wanted: Wanted, erasure: Erasure, version: int, now_us: int
) -> None:
    """Takes identities out of the directory, and all that a customer's row says but its name, which tells replicas that it is gone."""
    owned = CUSTOMER_IDENTITIES.c
    hashed = list(wanted.hashes)
    theirs = owned.identity_hash.in_(hashed)
    of_application = owned.application_id == wanted.application_id
    owners = set(connection.scalars(select(owned.customer).where(of_application, theirs)))
    if erasure.customer:
        connection.execute(
            delete(CUSTOMER_IDENTITIES).where(of_application, owned.customer == erasure.customer)
        )
        _empty(connection, wanted.application_id, erasure.customer, version, now_us)
        return
    connection.execute(delete(CUSTOMER_IDENTITIES).where(of_application, theirs))
    _leave_out(connection, wanted, owners, version, now_us)


def _empty(connection: Connection, application_id: str, name: str, version: int, now_us: int) -> None:
    table = CUSTOMERS.c
    values = {"version": version, "deleted": True, "updated_us": now_us, "stripe_customer": "", "plan": ""}
    connection.execute(
        update(CUSTOMERS)
        .where(table.application_id == application_id, table.name == name)
        .values(
            overrides=_NONE, identities=_NONE, deleted_us=func.coalesce(table.deleted_us, now_us), **values
        )
    )


def _leave_out(
    connection: Connection, wanted: Wanted, owners: Iterable[str], version: int, now_us: int
) -> None:
    """Takes an identity out of the rows of customers that are there, and of deleted ones that could be brought back."""
    table = CUSTOMERS.c
    texts = {each.hex() for each in wanted.hashes}
    named = [column.contains(text) for text in texts for column in (table.identities, table.overrides)]
    found = connection.execute(
        select(table.name, table.identities, table.overrides).where(
            table.application_id == wanted.application_id,
            table.name.in_(list(owners)) | (named[0] | named[1]),
        )
    ).all()
    for name, identities, overrides in found:
        left = [each for each in json.loads(identities) if each not in texts]
        own = [each for each in json.loads(overrides) if each.get("identity") not in texts]
        connection.execute(
            update(CUSTOMERS)
            .where(table.application_id == wanted.application_id, table.name == name)
            .values(
                identities=json.dumps(left),
                overrides=json.dumps(own, separators=(",", ":")) if own else _NONE,
                version=version,
                updated_us=now_us,
            )
        )


def blocks_of(connection: Connection, wanted: Wanted) -> list[str]:
    """Returns the keys of blocks that name one of them, deleted ones too."""
    texts = {each.hex() for each in wanted.hashes}
    found = connection.execute(
        select(BLOCKS.c.block_key, BLOCKS.c.document).where(BLOCKS.c.application_id == wanted.application_id)
    )
    return [key for key, document in found if json.loads(document).get("identity") in texts]


def delete_blocks(connection: Connection, application_id: str, keys: Sequence[str]) -> None:
    """Deletes blocks for good."""
    for chunk in chunked(keys):
        connection.execute(
            delete(BLOCKS).where(BLOCKS.c.application_id == application_id, BLOCKS.c.block_key.in_(chunk))
        )


def forget_windows(connection: Connection, wanted: Wanted) -> int:
    """Deletes their saved windows; returns how many there were."""
    keys = connection.scalars(
        select(WINDOW_CHECKPOINTS.c.key).where(
            WINDOW_CHECKPOINTS.c.key.startswith(f"{wanted.application_id}|", autoescape=True)
        )
    )
    theirs = sorted(key for key in keys if wanted.is_key(_identity_in(key)))
    return sum(
        connection.execute(delete(WINDOW_CHECKPOINTS).where(WINDOW_CHECKPOINTS.c.key.in_(chunk))).rowcount
        for chunk in chunked(theirs)
    )


def _identity_in(key: str) -> str:
    """Returns the identity's key at the end of a counter's key, "" where all share the counter."""
    parts = key.split("|", _KEY_PARTS)
    if len(parts) <= _KEY_PARTS:
        return ""
    endpoint, separator, identity = parts[-1].partition("\x1f")
    return identity if separator else endpoint
