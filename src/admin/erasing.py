"""The use-case behind EraseCustomer and EraseIdentity."""

from __future__ import annotations

from usageflow.domain.changes import Cause
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.hashing import KeyOf
from usageflow.storage.erasing import Erased, Erasure, ErasureStore
from usageflow.storage.naming import application_named
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import ControlStore

_MAX_IDENTITY_BYTES = 8192


class Erasing:
    """Forgets people; sums stay."""

    def __init__(
        self, control: ControlStore, store: ErasureStore, notices: ChangeNotices, key_of: KeyOf
    ) -> None:
        self._control = control
        self._store = store
        self._notices = notices
        self._key_of = key_of

    async def erase(self, application: str, erasure: Erasure, cause: Cause) -> Erased:
        """Returns what was removed. Raises NotFound, InvalidArgument and FailedPrecondition (HELD_UNITS)."""
        owner = await application_named(self._control, application)
        if not erasure.customer and not 1 <= len(erasure.identity.encode()) <= _MAX_IDENTITY_BYTES:
            fix = "send the customer's name, or the identity's raw value of at most 8,192 bytes"
            raise InvalidArgument.of("identity", "is empty or too long", fix)
        erased = await self._store.erase(
            owner.application_id, self._key_of(application), erasure, cause=cause
        )
        self._notices.publish()
        return erased
