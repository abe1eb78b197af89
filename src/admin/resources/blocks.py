"""Blocks: beside the revisions, but decisions are compiled with them, so they raise the plan version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from admin.aip.etags import ensure_same
from admin.aip.fields import TIMES, FieldType, fields_of
from admin.aip.masks import merged
from admin.applying import Applying
from admin.resources.in_memory import page_of
from admin.resources.shared import (
    Found,
    Listing,
    Page,
    Patch,
    Write,
    gone,
    missing,
    model_of,
    replayed,
    taken,
    there,
)
from admin.turns import Turns
from usageflow.domain.blocks import block_id
from usageflow.domain.changes import Action
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.hashing import KeyOf, keyed_hash
from usageflow.domain.policies import Block, PolicySet
from usageflow.domain.validation import validate
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import Application, ChangeSet, ControlStore
from usageflow.storage.resources import BlockRow, ResourceStore, Stamp

KIND = "block"

_FIELDS = fields_of(Block, {**TIMES, "id": FieldType.TEXT})
_MASK = fields_of(Block, {})
_KEY = ("methods", "path", "identity")

Change = Callable[[Found | None], Block | None]
"""Returns what is stored of the block afterwards, None where it goes."""


class Blocks:
    """The Resources of blocks; their names are ids."""

    def __init__(
        self,
        applying: Applying,
        control: ControlStore,
        store: ResourceStore,
        notices: ChangeNotices,
        key_of: KeyOf,
        turns: Turns,
    ) -> None:
        self._applying = applying
        self._control = control
        self._store = store
        self._notices = notices
        self._key_of = key_of
        self._turns = turns

    async def get(self, application: str, name: str) -> Found:
        """See Resources."""
        return await self._present(await self._applying.find(application), name)

    async def list(self, application: str, listing: Listing) -> Page:
        """See Resources. The filter ``identity`` takes ``hash:`` and 12 digits or more, or ``*``."""
        owner = await self._applying.find(application)
        items = [_found(row) for row in await self._store.blocks(owner.application_id)]
        return page_of(items, listing, _FIELDS, Block, f"{application}/blocks", last="id")

    async def create(self, application: str, fields: Mapping[str, Any], write: Write) -> Found:
        """See Resources."""
        raw = model_of(Block, fields, KIND)
        faults = validate(PolicySet(), [raw])
        if faults:
            raise InvalidArgument(
                [replace(fault, field=fault.field.replace("blocks[0]", KIND, 1)) for fault in faults]
            )
        identity = keyed_hash(self._key_of(application), raw.identity).hex() if raw.identity else ""
        block = raw.model_copy(update={"methods": raw.key[0], "identity": identity})

        def change(found: Found | None) -> Block:
            if found is not None and not found.deleted:
                raise taken(found)
            return block

        return await self._write(application, block_id(block), change, write, Action.CREATED)

    async def update(self, application: str, name: str, patch: Patch, write: Write) -> Found:
        """See Resources. Methods, path and identity are what a block is, so they stay."""
        paths = [path for path in patch.paths if path not in _KEY]

        def change(found: Found | None) -> Block:
            found = there(found, KIND, name)
            ensure_same(write.etag, found.etag, found.title)
            for field in set(patch.paths) & set(_KEY):
                _ensure_kept(field, patch.fields.get(field), found.item)
            present = found.item.model_dump(mode="json")
            return model_of(Block, merged(present, patch.fields, paths, _MASK, fixed=_KEY), KIND)

        return await self._write(application, name, change, write, Action.UPDATED)

    async def delete(self, application: str, name: str, write: Write) -> Found:
        """See Resources."""

        def change(found: Found | None) -> None:
            found = there(found, KIND, name)
            ensure_same(write.etag, found.etag, found.title)

        return await self._write(application, name, change, write, Action.DELETED)

    async def undelete(self, application: str, name: str, write: Write) -> Found:
        """See Resources."""

        def change(found: Found | None) -> Block:
            found = gone(found, KIND, name)
            ensure_same(write.etag, found.etag, found.title)
            block: Block = found.item
            return block

        return await self._write(application, name, change, write, Action.UNDELETED)

    async def _write(
        self, application: str, name: str, change: Change, write: Write, action: Action
    ) -> Found:
        owner = await self._applying.find(application)

        async def attempt() -> Found:
            now = await self._applying.find(application)
            if await replayed(self._store, write.cause):
                return await self._present(now, name)
            before = await self._before(now, name)
            wanted = change(before)
            if before is not None and not before.deleted and wanted == before.item:
                return before
            if write.validate_only:
                stamp = before.stamp if before is not None else Stamp(0, 0, 0)
                return Found(KIND, name, wanted or (before and before.item), stamp)
            await self._save(now, wanted, before, write.doing(action, KIND, name))
            return await self._present(now, name)

        return await self._turns.take(owner.application_id, attempt)

    async def _save(self, now: Application, wanted: Block | None, before: Found | None, cause: Any) -> None:
        change = ChangeSet(
            policies=None,
            blocks_upserted=() if wanted is None else (wanted,),
            blocks_deleted=(before.item,) if wanted is None and before is not None else (),
            names=(),
        )
        await self._control.change(
            now.application_id, change, cause=cause, expected_plan_version=now.plan_version
        )
        self._notices.publish()

    async def _before(self, owner: Application, name: str) -> Found | None:
        rows = await self._store.blocks(owner.application_id)
        return next((_found(row) for row in rows if row.block_id == name), None)

    async def _present(self, owner: Application, name: str) -> Found:
        found = await self._before(owner, name)
        if found is None:
            raise missing(KIND, name)
        return found


def _ensure_kept(field: str, value: object, block: Block) -> None:
    """Raises InvalidArgument where one of the fields that name a block would change; its identity may be told by hash."""
    present = getattr(block, field)
    same = sorted(value) == sorted(present) if isinstance(value, list) else value == present
    shown = f"hash:{block.identity[:12]}" if block.identity else ""
    if not same and not (field == "identity" and value == shown):
        message = "is part of what the block is, and cannot change"
        raise InvalidArgument.of(f"{KIND}.{field}", message, "delete the block and create another")


def _found(row: BlockRow) -> Found:
    return Found(KIND, row.block_id, row.block, row.stamp)
