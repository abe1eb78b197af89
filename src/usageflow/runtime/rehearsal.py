"""Decisions that nobody sees: a snapshot, counters in this process that begin empty, and a clock that is told the time.

What is decided here takes from no real counter and leaves this process in no way.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from admin.customers import stored
from decision.engine import Engine
from decision.resilience import ResilientStore
from usageflow import expressions
from usageflow.domain.clock import ManualClock
from usageflow.domain.compiling import compile_snapshot
from usageflow.domain.decisions import Answer, Question
from usageflow.domain.directory import Directory, Entry
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.ids import uuid7
from usageflow.domain.policies import Block
from usageflow.domain.snapshot import Snapshot
from usageflow.policyfile import LoadedFile
from usageflow.storage.file import Exported
from usageflow.storage.memory import MemoryCounterStore

_HASH_KEY = bytes(32)
"""Under which a file's own identities are hashed: nothing here meets values that were hashed elsewhere."""

_SWEEP_EVERY = 1_000


class Rehearsal:
    """Decides by one snapshot. Needs a running event loop."""

    def __init__(self, snapshot: Snapshot, start_us: int) -> None:
        self.snapshot = snapshot
        self._clock = clock = ManualClock(start_us)
        self._counters = [MemoryCounterStore(clock), MemoryCounterStore(clock)]
        store = ResilientStore(self._counters[0], clock, {}, in_process=True)
        self._engine = Engine(
            store, self._counters[1], clock, lambda: uuid7(clock.now_us(), secrets.token_bytes(10))
        )
        self._decided = 0

    async def decide(self, question: Question, at_us: int) -> Answer:
        """Returns the answer at an instant of Unix time, which is never before the one of the last decision."""
        self._clock.move_to(at_us)
        self._decided += 1
        if self._decided % _SWEEP_EVERY == 0:
            for counters in self._counters:
                await counters.sweep()
        (answer,) = await self._engine.decide(self.snapshot, [question])
        return answer


def snapshot_of_file(loaded: LoadedFile, live: Exported | None = None) -> Snapshot:
    """Returns what a policy file decides by, as if it had been applied to nothing, or to what is ``live``: its routes and hash
    key are used, and blocks and customers that the file does not hold stay.
    """
    key = live.hash_key if live else _HASH_KEY
    blocks = {block.key: block for block in (live.state.blocks if live else ())}
    blocks |= {block.key: block for block in (_hashed(block, key) for block in loaded.blocks)}
    customers = {item.name: item for item in (live.customers if live else ())}
    customers |= {item.name: stored(item, key) for item in loaded.customers}
    return compile_snapshot(
        application_id="rehearsal",
        application=loaded.application,
        revision=0,
        plan_version=1,
        hash_key=key,
        policies=loaded.policy_set,
        blocks=tuple(blocks.values()),
        numbers=_numbers(live),
        endpoints=live.state.endpoints if live else (),
        directory=Directory().changed(1, map(Entry.of, customers.values())),
        compile_term=expressions.compile_term,
    )


def snapshot_of_export(live: Exported) -> Snapshot:
    """Returns what a snapshot file decides by."""
    application = live.state.application
    return compile_snapshot(
        application_id=application.application_id,
        application=application.name,
        revision=application.revision,
        plan_version=application.plan_version,
        hash_key=live.hash_key,
        policies=live.state.policies,
        blocks=live.state.blocks,
        numbers=_numbers(live),
        endpoints=live.state.endpoints,
        directory=Directory().changed(1, map(Entry.of, live.customers)),
        compile_term=expressions.compile_term,
    )


def _numbers(live: Exported | None) -> dict[tuple[str, str], int]:
    numbers = live.state.numbers.items() if live else ()
    return {(str(kind), name): number for (kind, name), number in numbers}


def _hashed(block: Block, key: bytes) -> Block:
    identity = keyed_hash(key, block.identity).hex() if block.identity else ""
    return block.model_copy(update={"methods": block.key[0], "identity": identity})


def body_pairs(snapshot: Snapshot, body: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yields location, dot path and value of each field of a body that some policy reads."""
    keys = {part.key for strategy in snapshot.strategies for part in strategy.parts}
    keys |= {key for policy in snapshot.policies for term in policy.terms for key in term.reads.attributes}
    for location, path in sorted(keys):
        if location in ("body", "body_json"):
            found, value = _field(body, path)
            if found:
                yield location, path, value


def _field(body: Any, path: str) -> tuple[bool, Any]:
    """Returns whether a body has a field, and its value."""
    for step in path.split("."):
        if not isinstance(body, dict) or step not in body:
            return False, None
        body = body[step]
    return True, body
