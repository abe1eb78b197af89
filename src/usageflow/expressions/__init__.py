"""Expressions in CEL (https://cel.dev): compiled and type-checked once, with a list of what they read, evaluated safely.

``check`` and ``compile_term`` are what usageflow.domain.expressions calls ExpressionCheck and CompileTerm.
"""

from __future__ import annotations

from usageflow.expressions._compiling import Expression, check, compile_term

__all__ = ["Expression", "check", "compile_term"]
