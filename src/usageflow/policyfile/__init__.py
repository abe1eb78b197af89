"""Reads policy files. ``load`` is the one entry; everything else here serves it."""

from __future__ import annotations

from usageflow.policyfile.loader import MAX_BYTES, LoadedFile, load
from usageflow.policyfile.problems import PolicyFileError, Problem

__all__ = ["MAX_BYTES", "LoadedFile", "PolicyFileError", "Problem", "load"]
