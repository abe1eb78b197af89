"""The port of API keys and admin tokens. Authentication reads them through CredentialSource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from usageflow.domain.changes import Cause
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.listing import Query


@dataclass(frozen=True, slots=True)
class CredentialSet:
    """Where names are unique: the API keys of one application, or all admin tokens (``application_id`` is empty then)."""

    kind: CredentialKind
    application_id: str = ""


@dataclass(frozen=True, slots=True)
class CredentialChange:
    """What to write at once: a new credential, another version of a present one (its ``version`` is the one that was read), or both.

    ``new`` comes first where the answer is about one credential.
    """

    new: Credential | None = None
    changed: Credential | None = None

    @property
    def about(self) -> Credential:
        """Returns the credential that the change is about."""
        credential = self.new or self.changed
        if credential is None:
            raise ValueError("a change that changes nothing")
        return credential


class CredentialUses(Protocol):
    """Where uses are written."""

    async def record_uses(self, uses: Mapping[str, int]) -> None:
        """Stores when credentials (by id) were last used, in microseconds; an earlier time than the stored one changes nothing, and
        neither do unknown ids. Neither the version nor the audit log tell of it.
        """


class CredentialStore(CredentialUses, Protocol):
    """Credentials, to manage."""

    async def get_credential(self, where: CredentialSet, name: str) -> Credential | None:
        """Returns the credential of that name."""

    async def list_credentials(self, where: CredentialSet, query: Query) -> Sequence[Credential]:
        """Returns credentials; ``query.show_deleted``: revoked ones too. Fields are name, uid, prefix, scopes (their names in one text),
        role, application, creator, create_time, expire_time, revoke_time and last_use_time. Raises InvalidArgument for others.
        """

    async def names_of_credentials(self, where: CredentialSet) -> frozenset[str]:
        """Returns every name that is taken; revoked credentials keep theirs."""

    async def credential_of_request(self, cause: Cause) -> Credential | None:
        """Returns the present state of what an earlier request under the cause's request id was about, None where there was none.

        Raises AlreadyExists (reason REQUEST_ID_REUSED) where that was another request.
        """

    async def write_credentials(
        self, change: CredentialChange, *, cause: Cause, validate_only: bool = False
    ) -> tuple[Credential, bool]:
        """Carries out a change in one transaction, with the audit entries of ``cause``; returns what it is about as it is then, and
        whether it was written now: False where an earlier request under the same id did it, or for ``validate_only``, which checks
        everything and stores nothing.

        Raises AlreadyExists where the name is taken or as ``credential_of_request``, NotFound for an unknown application or
        credential, Aborted (with the present etag) where the stored version is another, and FailedPrecondition (reason LAST_OWNER)
        where no owner token would be left that is unbound, not revoked and never expires.
        """
