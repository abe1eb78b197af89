"""The first start: an application ``demo`` with its credentials and the example's policies."""

from __future__ import annotations

import secrets
from dataclasses import replace

from admin.applying import Applying, Wanted
from usageflow.domain.changes import Action, Actor, Cause, Change
from usageflow.domain.credentials import ALL_SCOPES, Credential, CredentialKind, Role
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.ids import uuid7
from usageflow.domain.keys import display_prefix, hash_of
from usageflow.expressions import check
from usageflow.policyfile import load
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.credentials import Credentials
from usageflow.runtime.resources import read_resource
from usageflow.storage.ports import ControlStore

APPLICATION = "demo"
EXAMPLE = "examples/usageflow.yaml"
FIRST_KEY = "first"
FIRST_TOKEN = "owner"  # noqa: S105 - a name, not a secret

_FIRST_START = Cause(Actor("", "first start"), "first start")
_MADE = (Change(Action.CREATED, "application", APPLICATION),)


async def ensure_application(control: ControlStore, credentials: Credentials) -> bool:
    """Creates the application where it is missing; True where it did. Its credentials are those of the file.

    Raises FailedPrecondition where the database has the application but does not know the file's key.
    """
    if await control.find_application(APPLICATION) is None:
        await control.create_application(
            APPLICATION,
            [
                _credential(CredentialKind.API_KEY, credentials.api_key),
                _credential(CredentialKind.ADMIN_TOKEN, credentials.admin_token),
            ],
            cause=replace(_FIRST_START, changes=_MADE),
        )
        return True
    if await control.find_credential(hash_of(credentials.api_key)) is None:
        message = (
            "credentials.toml and the database in the data folder do not belong together: "
            "restore the one that was there before, or move the folder away for a new start"
        )
        raise FailedPrecondition(message, reason="CREDENTIALS_UNKNOWN")
    return False


def _credential(kind: CredentialKind, secret: str) -> Credential:
    """Returns the credential of a secret: the first of its kind may do everything that its kind can."""
    is_key = kind is CredentialKind.API_KEY
    return Credential(
        uuid7(SystemClock().now_us(), secrets.token_bytes(10)),
        kind,
        "",
        display_prefix(secret),
        hash_of(secret),
        name=FIRST_KEY if is_key else FIRST_TOKEN,
        scopes=ALL_SCOPES if is_key else frozenset(),
        role=None if is_key else Role.OWNER,
    )


async def ensure_policies(control: ControlStore, applying: Applying) -> bool:
    """Applies the example where nothing was ever applied; True where it did."""
    application = await control.find_application(APPLICATION)
    if application is None or application.revision > 0:
        return False
    loaded = load(read_resource(EXAMPLE), filename=EXAMPLE, check=check)
    wanted = Wanted(APPLICATION, loaded.policy_set, loaded.blocks, loaded.customers)
    await applying.apply(wanted, _FIRST_START)
    return True
