"""Policy files for the cases."""

from __future__ import annotations

from collections.abc import Iterable

HEAD = """version: 1
application: demo
strategies:
  - name: by-user
    sources: [{in: header, name: X-User-Id}]
    on_missing: DENY
  - name: by-tenant
    sources: [{in: header, name: X-Tenant}]
    on_missing: DENY
policies:
"""

LONGEST = "366d"
"""A window in which nothing refills while a case runs."""

ALGORITHMS = {
    "fixed-window": f"window: {LONGEST}",
    "aligned-window": "align: month",
    "token-bucket": f"algorithm: TOKEN_BUCKET, window: {LONGEST}",
    "sliding-window": f"algorithm: SLIDING_WINDOW, window: {LONGEST}",
    "concurrency": "algorithm: CONCURRENCY, window: 1h",
}
"""Every algorithm as a policy file writes it, without name and limit."""


def limit(name: str, units: int, how: str) -> str:
    """Returns a limit of a policy file; ``how`` is the algorithm and what belongs to it."""
    return f"{{name: {name}, limit: {units}, {how}}}"


def policy(name: str, path: str, limits: Iterable[str], *, strategy: str = "by-user") -> str:
    """Returns a policy of a policy file. Where nothing is decided it denies, so that nothing but the counters admits."""
    lines = [f"  - name: {name}", f"    match: {{path: {path}}}", f"    strategy: {strategy}"]
    return (
        "\n".join([*lines, "    fail_mode: CLOSED", "    limits:", *(f"      - {one}" for one in limits)])
        + "\n"
    )


def policy_file(policies: Iterable[str]) -> str:
    """Returns a whole policy file."""
    return HEAD + "".join(policies)
