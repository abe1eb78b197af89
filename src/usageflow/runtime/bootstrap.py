"""The first start: an application with its credentials, and in the embedded form the example's policies."""

from __future__ import annotations

import asyncio
import secrets
import sys
from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from admin.applying import Applying, Wanted
from usageflow.domain.changes import Action, Actor, Cause, Change
from usageflow.domain.credentials import ALL_SCOPES, Credential, CredentialKind, Role
from usageflow.domain.errors import AlreadyExists, FailedPrecondition, InvalidArgument, UsageFlowError
from usageflow.domain.ids import uuid7
from usageflow.domain.keys import display_prefix, hash_of
from usageflow.domain.policies import Name
from usageflow.expressions import check
from usageflow.policyfile import load
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.credentials import Credentials, new_credentials
from usageflow.runtime.forms import check_form
from usageflow.runtime.resources import read_resource
from usageflow.runtime.settings import Settings, load_settings
from usageflow.storage.ports import ControlStore
from usageflow.storage.sql import SqlControlStore, open_postgres, prepare_postgres

APPLICATION = "demo"
EXAMPLE = "examples/usageflow.yaml"
FIRST_KEY = "first"
FIRST_TOKEN = "owner"  # noqa: S105 - a name, not a secret

_NOT_SHARED = (
    "the embedded form makes its keys at the first start, in credentials.toml: run `usageflow serve`; "
    "for an installation on PostgreSQL set USAGEFLOW_DATABASE_URL"
)
_BOOTSTRAPPED = (
    "this database was bootstrapped already, and its first keys were shown then: use these, or make further ones with an "
    "admin token"
)

_FIRST_START = Cause(Actor("", "first start"), "first start")
_MADE = (Change(Action.CREATED, "application", APPLICATION),)


def run(application: str) -> Credentials | None:
    """Makes the first application of an installation on PostgreSQL; None where that failed, which stderr then tells."""
    try:
        return asyncio.run(_bootstrap(load_settings(), application))
    except InvalidArgument as error:
        for fault in error.faults:
            complain(str(fault))
    except UsageFlowError as error:
        complain(str(error))
    return None


def complain(sentence: str) -> None:
    """Tells what went wrong."""
    sys.stderr.write(f"usageflow: {sentence}\n")


async def _bootstrap(settings: Settings, application: str) -> Credentials:
    url = settings.database_url.get_secret_value()
    if not url:
        raise FailedPrecondition(_NOT_SHARED, reason="NEEDS_SHARED_DATABASE")
    _check_name(application)
    check_form("admin", settings)
    clock = SystemClock()
    await asyncio.to_thread(prepare_postgres, url, clock)
    database = open_postgres(url)
    try:
        return await first_application(SqlControlStore(database, clock), application)
    finally:
        await database.close()


def _check_name(application: str) -> None:
    try:
        TypeAdapter(Name).validate_python(application)
    except ValidationError:
        fix = "write lower-case letters, digits and hyphens, at most 63"
        raise InvalidArgument.of("--application", f"{application[:64]!r} is no name", fix) from None


async def first_application(control: ControlStore, name: str) -> Credentials:
    """Creates the first application of an installation, with an API key and an admin token. Raises FailedPrecondition
    (BOOTSTRAPPED) where there is one, whoever made it, and however many try at once.
    """
    if await control.versions():
        raise FailedPrecondition(_BOOTSTRAPPED, reason="BOOTSTRAPPED")
    credentials = new_credentials("")
    made = (Change(Action.CREATED, "application", name),)
    try:
        await control.create_application(
            name, _credentials(credentials), cause=replace(_FIRST_START, changes=made)
        )
    except (AlreadyExists, FailedPrecondition) as error:
        raise FailedPrecondition(_BOOTSTRAPPED, reason="BOOTSTRAPPED") from error
    return credentials


def _credentials(credentials: Credentials) -> list[Credential]:
    return [
        _credential(CredentialKind.API_KEY, credentials.api_key),
        _credential(CredentialKind.ADMIN_TOKEN, credentials.admin_token),
    ]


async def ensure_application(control: ControlStore, credentials: Credentials) -> bool:
    """Creates the application where it is missing; True where it did. Its credentials are those of the file.

    Raises FailedPrecondition where the database has the application but does not know the file's key.
    """
    token_known = await control.find_credential(hash_of(credentials.admin_token)) is not None
    if await control.find_application(APPLICATION) is None:
        if token_known:
            return False  # it was deleted, by somebody who may bring it back
        await control.create_application(
            APPLICATION,
            _credentials(credentials),
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
