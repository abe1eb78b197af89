"""The use-case behind Apply: compare, save in one transaction, tell the decision processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from admin.customers import Entering
from admin.planning import resources, with_fields
from admin.turns import Turns
from usageflow.domain.blocks import block_id
from usageflow.domain.changes import Action, Cause, Change
from usageflow.domain.customers import Customer
from usageflow.domain.errors import NotFound
from usageflow.domain.expressions import ExpressionCheck, refuse_expressions
from usageflow.domain.hashing import derive_key, keyed_hash
from usageflow.domain.identity import source_keys
from usageflow.domain.policies import Block, BlockKey, CustomerPlan, Policy, PolicySet, Strategy
from usageflow.domain.policy_terms import term_attributes
from usageflow.domain.snapshot import attribute_name
from usageflow.domain.validation import ensure_valid
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import Application, ApplicationState, ChangeSet, ControlStore, NumberKind

Named = TypeVar("Named", Strategy, Policy, CustomerPlan)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an application should be. Blocks and customers carry raw identities."""

    application: str
    policies: PolicySet
    blocks: tuple[Block, ...] = ()
    customers: tuple[Customer, ...] = ()
    prune: bool = False
    validate_only: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """The revision in force, and what was (or would be) changed, deletions first."""

    revision: int
    changes: tuple[Change, ...]


Edit = Callable[[ApplicationState], Awaitable[PolicySet]]
"""Returns what becomes of an application's policies; it is asked again where somebody else changed them meanwhile."""


OnRevision = Callable[[Application, PolicySet], Awaitable[object]]


class Applying:
    """Makes applications equal to policy sets, whole or with one thing changed. Every revision is made here."""

    def __init__(
        self,
        control: ControlStore,
        notices: ChangeNotices,
        hash_key: bytes,
        check: ExpressionCheck = refuse_expressions,
        turns: Turns | None = None,
        on_revision: OnRevision | None = None,
    ) -> None:
        """``on_revision`` sees each revision that was saved here."""
        self._on_revision = on_revision
        self._check = check
        self._control = control
        self._notices = notices
        self._hash_key = hash_key
        self._turns = turns or Turns()

    async def apply(self, wanted: Wanted, cause: Cause) -> Applied:
        """Applies a set: one transaction, at most one revision, all or nothing. ``cause`` need not name the changes.

        Raises InvalidArgument (every fault of the set, and of what would stay beside it), NotFound, and FailedPrecondition where other writers kept changing
        the application.
        """
        await self._ensure_valid(wanted)
        application = await self.find(wanted.application)
        blocks = self._hashed(application, wanted.blocks)

        async def attempt() -> Applied:
            state = await self._control.load(application.application_id)
            return await self._once(state, wanted, blocks, cause)

        return await self._turns.take(application.application_id, attempt)

    async def edit(
        self, application: Application, edit: Edit, cause: Cause, *, validate_only: bool, message: str = ""
    ) -> Applied:
        """Makes the next revision of what ``edit`` returns; blocks and customers stay. Raises as ``apply`` does, and what ``edit`` raises."""

        async def attempt() -> Applied:
            state = await self._control.load(application.application_id)
            wanted = Wanted(application.name, await edit(state), validate_only=validate_only, message=message)
            if wanted.policies != state.policies:
                await self._ensure_valid(wanted)
            return await self._once(state, wanted, {}, cause)

        return await self._turns.take(application.application_id, attempt)

    async def find(self, application: str) -> Application:
        """Returns an application by name. Raises NotFound."""
        found = await self._control.find_application(application)
        if found is None:
            message = (
                f"there is no application {application[:64]!r}: name an existing one under `application`"
            )
            raise NotFound(message, reason="APPLICATION_NOT_FOUND")
        return found

    async def _ensure_valid(self, wanted: Wanted) -> None:
        # Beside the event loop: a set of 10,000 policies takes a second.
        await asyncio.to_thread(ensure_valid, wanted.policies, wanted.blocks, wanted.customers, self._check)

    async def _once(
        self,
        state: ApplicationState,
        wanted: Wanted,
        blocks: Mapping[BlockKey, tuple[Block, str]],
        cause: Cause,
    ) -> Applied:
        """Compares and saves. Raises FailedPrecondition (CHANGED_MEANWHILE)."""
        application = state.application
        key = derive_key(self._hash_key, application.name)
        entering = Entering(self._control, application, key, wanted.customers)
        customers = await entering.difference(state.policies, wanted.policies, prune=wanted.prune)
        difference = _difference(state, wanted, blocks, customers.changes, self._check)
        if wanted.validate_only:
            before = resources(state.policies, state.blocks, customers.present)
            after = resources(wanted.policies, (block for block, _ in blocks.values()), customers.upserted)
            # Beside the event loop, as above.
            told = await asyncio.to_thread(with_fields, difference.changes, before, after)
            return Applied(application.revision, told)
        if not difference.changes:
            return Applied(application.revision, ())
        change = replace(
            difference.change_set,
            customers_upserted=customers.upserted,
            customers_deleted=customers.deleted,
            message=wanted.message,
        )
        changes = _as_done(difference.changes, cause.changes)
        saved = await self._control.change(
            application.application_id,
            change,
            cause=replace(cause, changes=changes),
            expected_plan_version=application.plan_version,
        )
        self._notices.publish()
        if change.policies is not None and self._on_revision is not None:
            await self._on_revision(saved, change.policies)
        return Applied(saved.revision, changes)

    def _hashed(self, application: Application, blocks: Iterable[Block]) -> dict[BlockKey, tuple[Block, str]]:
        """Returns what is stored of each block, and its title: raw identities are never stored."""
        key = derive_key(self._hash_key, application.name)
        stored = {}
        for block in blocks:
            identity = keyed_hash(key, block.identity).hex() if block.identity else ""
            kept = block.model_copy(update={"methods": block.key[0], "identity": identity})
            stored[kept.key] = (kept, block.title)
        return stored


@dataclass(frozen=True, slots=True)
class _Difference:
    change_set: ChangeSet
    changes: tuple[Change, ...]


def _difference(
    state: ApplicationState,
    wanted: Wanted,
    blocks: Mapping[BlockKey, tuple[Block, str]],
    customers: Sequence[Change],
    check: ExpressionCheck,
) -> _Difference:
    old, new = state.policies, wanted.policies
    stored = {block.key: block for block in state.blocks}
    deleted = [block for block in state.blocks if block.key not in blocks] if wanted.prune else []
    upserted = [(block, title) for key, (block, title) in blocks.items() if stored.get(key) != block]
    changes = [
        *_changes("strategy", old.strategies, new.strategies),
        *_changes("policy", old.policies, new.policies),
        *_changes("plan", old.plans, new.plans),
        *(Change(Action.DELETED, "block", _stored_title(block), block_id(block)) for block in deleted),
        *(
            Change(_upsert_action(block, stored), "block", title, block_id(block))
            for block, title in upserted
        ),
        *customers,
    ]
    change_set = ChangeSet(
        policies=new if old != new else None,
        blocks_upserted=tuple(block for block, _ in upserted),
        blocks_deleted=tuple(deleted),
        names=tuple(_names(new, check)) if old != new else (),
    )
    order = {action: index for index, action in enumerate(Action)}
    changes.sort(key=lambda change: order[change.action])
    if (
        not changes and old != new
    ):  # only the order of declaration differs; that is stored, but changes nothing
        changes.append(Change(Action.UPDATED, "policy", "order of declaration"))
    return _Difference(change_set, tuple(changes))


def _as_done(changes: Sequence[Change], told: Sequence[Change]) -> tuple[Change, ...]:
    """Returns the changes, with the action that the cause tells of a resource: what comes back was not made anew."""
    actions = {(change.kind, change.name): change.action for change in told}
    if not actions:
        return tuple(changes)
    return tuple(
        replace(change, action=actions.get((change.kind, change.name), change.action)) for change in changes
    )


def _changes(kind: str, old: Sequence[Named], new: Sequence[Named]) -> Iterable[Change]:
    before = {item.name: item for item in old}
    after = {item.name: item for item in new}
    for name in before:
        if name not in after:
            yield Change(Action.DELETED, kind, name)
    for name, item in after.items():
        if name not in before:
            yield Change(Action.CREATED, kind, name)
        elif before[name] != item:
            yield Change(Action.UPDATED, kind, name)


def _upsert_action(block: Block, stored: Mapping[BlockKey, Block]) -> Action:
    return Action.UPDATED if block.key in stored else Action.CREATED


def _stored_title(block: Block) -> str:
    shown = f"hash:{block.identity[:12]}" if block.identity else ""
    return block.model_copy(update={"identity": shown}).title


def _names(policies: PolicySet, check: ExpressionCheck) -> Iterable[tuple[NumberKind, str]]:
    """Yields the names that plans refer to by number."""
    for policy in policies.policies:
        yield NumberKind.POLICY, policy.name
    for strategy in policies.strategies:
        for source in strategy.sources:
            yield from ((NumberKind.ATTRIBUTE, attribute_name(key)) for key in source_keys(source))
    yield from ((NumberKind.ATTRIBUTE, attribute_name(key)) for key in term_attributes(policies, check))
