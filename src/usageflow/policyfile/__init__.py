"""Reads policy files. ``load`` and ``load_snippet`` are the entries; everything else here serves them."""

from __future__ import annotations

from usageflow.policyfile.loader import MAX_BYTES, LoadedFile, load
from usageflow.policyfile.problems import PolicyFileError, Problem
from usageflow.policyfile.snippet import Snippet, load_snippet

__all__ = ["MAX_BYTES", "LoadedFile", "PolicyFileError", "Problem", "Snippet", "load", "load_snippet"]
