"""From a database to what a snapshot file holds."""

from __future__ import annotations

from usageflow.domain.customers import Customer
from usageflow.domain.hashing import KeyOf
from usageflow.storage.file.document import Exported
from usageflow.storage.ports import ControlStore


async def gather(control: ControlStore, application_id: str, key_of: KeyOf) -> Exported:
    """Returns all that decides for an application. Raises NotFound."""
    state = await control.load(application_id)
    keys = await control.api_keys(application_id)
    version, customers = await _directory(control, application_id)
    return Exported(state, key_of(state.application.name), tuple(keys), customers, version)


async def _directory(control: ControlStore, application_id: str) -> tuple[int, tuple[Customer, ...]]:
    """Returns the version of the directory and its customers; what only billing needs is left out."""
    versions = await control.versions()
    if application_id not in versions or not versions[application_id].directory:
        return 0, ()
    names = list(await control.customer_plans(application_id))
    stored = await control.customers(application_id, names)
    shown = tuple(item.model_copy(update={"stripe_customer": ""}) for item in stored)
    return versions[application_id].directory, shown
