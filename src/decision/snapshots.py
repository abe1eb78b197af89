"""Holds the snapshot of every application and keeps it fresh: a 250 ms poll, sooner on a notice."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

import structlog

from decision.collecting import building
from decision.plan import Plan, build_plan
from usageflow.domain.compiling import compile_snapshot
from usageflow.domain.directory import Directory
from usageflow.domain.errors import NotFound, UsageFlowError
from usageflow.domain.expressions import CompileTerm, compile_nothing
from usageflow.domain.hashing import KeyOf
from usageflow.domain.policies import PolicySet
from usageflow.domain.snapshot import Snapshot
from usageflow.storage.directories import DirectoryChanges
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import ApplicationState, SnapshotSource, Versions

POLL_S = 0.25
_OLD_REVISIONS = 16

log = structlog.get_logger()


class SnapshotRegistry:
    """Compiled snapshots and plans by application id. One task (run) swaps them; readers never wait. ``on_load`` sees
    each one before it is in force.
    """

    def __init__(
        self,
        control: SnapshotSource,
        notices: ChangeNotices,
        key_of: KeyOf,
        on_load: Callable[[Snapshot], None] | None = None,
        compile_term: CompileTerm = compile_nothing,
        loads: dict[str, int] | None = None,
    ) -> None:
        """``loads`` counts what was compiled, by outcome: ``loaded`` or ``refused``."""
        self._loads = {} if loads is None else loads
        self._compile_term = compile_term
        self._on_load = on_load
        self._control = control
        self._notices = notices
        self._key_of = key_of
        self._plans: dict[str, Plan] = {}
        self._directories: dict[str, Directory] = {}
        self._old: OrderedDict[tuple[str, int], Snapshot] = OrderedDict()
        self._refused: dict[str, int] = {}
        self._told: list[Callable[[], None]] = []
        self._changed = asyncio.Condition()
        self._refreshing = asyncio.Lock()

    def plan(self, application_id: str) -> Plan | None:
        """Returns the plan in force, None for an application that is not loaded."""
        return self._plans.get(application_id)

    def in_force(self) -> Mapping[str, Snapshot]:
        """Returns what is enforced now, by application id."""
        return {application_id: plan.snapshot for application_id, plan in self._plans.items()}

    def on_swap(self, tell: Callable[[], None]) -> None:
        """Calls ``tell`` after each change of what is enforced, customers included."""
        self._told.append(tell)

    async def refresh(self) -> None:
        """Loads what changed and swaps it in; a state that does not compile never replaces a good one. Customers are
        swapped in beside the policies: nothing is compiled for them. Applications that are gone are forgotten.
        """
        async with self._refreshing:
            versions = await self._control.versions()
            moved = await self._load_directories(versions)
            gone = [application_id for application_id in self._plans if application_id not in versions]
            for application_id, version in versions.items():
                plan = self._plans.get(application_id)
                known = plan.snapshot.plan_version if plan is not None else 0
                if version.plan not in (known, self._refused.get(application_id)):
                    with building():
                        await self._load(application_id)
            for application_id in moved:
                self._swap_directory(application_id)
            self._forget(gone)
            if gone:
                self._tell()

    async def _load_directories(self, versions: Mapping[str, Versions]) -> list[str]:
        """Brings every directory up to date, and returns whose changed."""
        known = {application_id: directory.version for application_id, directory in self._directories.items()}
        if all(known.get(key, 0) == version.directory for key, version in versions.items()):
            return []
        changes = await self._control.directory_changes(known)
        for application_id, change in changes.items():
            before = self._directories.get(application_id, Directory())
            self._directories[application_id] = await asyncio.to_thread(_moved, before, change)
        return list(changes)

    def _forget(self, application_ids: Iterable[str]) -> None:
        """Lets go of applications that are gone; they may come back."""
        for application_id in application_ids:
            name = self._plans.pop(application_id).snapshot.application
            self._directories.pop(application_id, None)
            self._refused.pop(application_id, None)
            log.info("application gone", application=name)

    def _count(self, outcome: str) -> None:
        self._loads[outcome] = self._loads.get(outcome, 0) + 1

    def _tell(self) -> None:
        for tell in self._told:
            tell()

    def _swap_directory(self, application_id: str) -> None:
        plan, directory = self._plans.get(application_id), self._directories[application_id]
        if plan is not None and plan.snapshot.directory.version != directory.version:
            self._plans[application_id] = plan.with_directory(directory)
            self._tell()

    async def _load(self, application_id: str) -> None:
        state = await self._control.load(application_id)
        try:
            plan = await asyncio.to_thread(lambda: build_plan(self._compile(state)))
        except Exception:  # whatever is wrong with it, it must not end the process or replace a good one
            # Tried again with the next change only: compiling the same state again would end the same way.
            self._refused[application_id] = state.application.plan_version
            self._count("refused")
            log.exception("snapshot refused; deciding by the last one", application=state.application.name)
            return
        if self._on_load is not None:
            self._on_load(plan.snapshot)
        self._plans[application_id] = plan
        self._count("loaded")
        self._tell()
        async with self._changed:
            self._changed.notify_all()
        log.info(
            "snapshot loaded",
            application=state.application.name,
            revision=plan.snapshot.revision,
            plan_version=plan.snapshot.plan_version,
        )

    def _compile(self, state: ApplicationState) -> Snapshot:
        application = state.application
        return compile_snapshot(
            application_id=application.application_id,
            application=application.name,
            revision=application.revision,
            plan_version=application.plan_version,
            hash_key=self._key_of(application.name),
            policies=state.policies,
            blocks=state.blocks,
            numbers={(str(kind), name): number for (kind, name), number in state.numbers.items()},
            endpoints=state.endpoints,
            directory=self._directories.get(application.application_id),
            decision_log_percent=application.decision_log_percent,
            capture=application.capture,
            compile_term=self._compile_term,
        )

    async def at(self, current: Snapshot, revision: int) -> Snapshot:
        """Returns the snapshot that an older revision compiles to; the current one where it is unknown or 0."""
        if revision in (0, current.revision):
            return current
        key = (current.application_id, revision)
        if key not in self._old:
            policies = await self._control.policies_at(current.application_id, revision)
            if policies is None:
                return current
            self._old[key] = await asyncio.to_thread(self._compile_old, current, revision, policies)
            while len(self._old) > _OLD_REVISIONS:
                self._old.popitem(last=False)
        return self._old[key]

    def _compile_old(self, current: Snapshot, revision: int, policies: PolicySet) -> Snapshot:
        return compile_snapshot(
            application_id=current.application_id,
            application=current.application,
            revision=revision,
            plan_version=current.plan_version,
            hash_key=current.hash_key,
            policies=policies,
            blocks=(),
            numbers={},
            endpoints=(),
            compile_term=self._compile_term,
        )

    async def wait_for_other(self, application_id: str, plan_version: int) -> Plan:
        """Returns the plan of an application as soon as its version is not ``plan_version``. Raises NotFound where the application is
        deleted meanwhile.
        """
        async with self._changed:
            known = application_id in self._plans
            while True:
                plan = self._plans.get(application_id)
                if plan is None and known:
                    raise NotFound("this application was deleted", reason="APPLICATION_NOT_FOUND")
                if plan is not None and plan.snapshot.plan_version != plan_version:
                    return plan
                await self._changed.wait()

    async def run(self) -> None:
        """Refreshes for ever; an unreachable database leaves the snapshots as they are."""
        silent = False
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._notices.wait()
            try:
                await self.refresh()
                silent = False
            except UsageFlowError as error:
                if not silent:  # once: it is tried four times a second
                    log.warning("cannot read revisions; deciding by the last ones", error=str(error))
                silent = True


def _moved(directory: Directory, change: DirectoryChanges) -> Directory:
    start = Directory() if change.whole else directory
    return start.changed(change.version, change.entries, change.deleted)
