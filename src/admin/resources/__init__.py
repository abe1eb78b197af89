"""The standard methods of resources: get, list, create, update, delete and undelete, one module per family of kinds."""

from __future__ import annotations

from admin.resources.alerts import AlertResources
from admin.resources.applications import Applications
from admin.resources.blocks import Blocks
from admin.resources.customers import Customers
from admin.resources.declarations import Declarations
from admin.resources.declared import DeclaredResources
from admin.resources.endpoints import Endpoints
from admin.resources.shared import Found, Listing, Page, Patch, Resources, Write

__all__ = [
    "AlertResources",
    "Applications",
    "Blocks",
    "Customers",
    "Declarations",
    "DeclaredResources",
    "Endpoints",
    "Found",
    "Listing",
    "Page",
    "Patch",
    "Resources",
    "Write",
]
