"""The base of everything that people declare."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Declared(BaseModel):
    """A resource as it is written in files and kept in revisions: unknown keys are refused, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
