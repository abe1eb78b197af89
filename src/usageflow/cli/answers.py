"""Decisions as JSON shows them: bare enum names, seconds as numbers."""

from __future__ import annotations

from typing import Any

from usageflow.cli.convert import bare_name, seconds_of
from usageflow.cli.output import Column, print_line, print_table
from usageflow.v1 import common_pb2 as common
from usageflow.v1.decision_pb2 import CheckResponse

_LIMIT_COLUMNS = (
    Column("policy"),
    Column("limit"),
    Column("algorithm"),
    Column("units", right=True),
    Column("window", right=True),
    Column("remaining", right=True),
    Column("reset", right=True),
    Column("exceeded"),
)


def answer_json(answer: CheckResponse) -> dict[str, Any]:
    """Returns the answer of Check as one object."""
    return {
        "decision": bare_name(common.Decision.DESCRIPTOR, answer.decision, "DECISION_"),
        "reason": bare_name(common.Reason.DESCRIPTOR, answer.reason, "REASON_"),
        "identity": answer.identity,
        "policies": list(answer.policies),
        "limits": [limit_json(each) for each in answer.limits],
        "retry_after_s": seconds_of(answer.retry_after) if answer.HasField("retry_after") else None,
        "degraded": _degraded_json(answer.degraded),
        "revision": answer.revision,
        "shadow": [_shadow_json(each) for each in answer.shadow],
        "message": answer.message,
        "slot_id": answer.slot_id.hex(),
    }


def limit_json(limit: common.LimitStatus) -> dict[str, Any]:
    """Returns the state of a limit: units, and seconds where the key ends in ``_s``. Nobody knows when a request ends, so
    CONCURRENCY has no reset; its window is a slot's life.
    """
    at_once = limit.algorithm == common.ALGORITHM_CONCURRENCY
    return {
        "policy": limit.policy,
        "name": limit.limit_name,
        "algorithm": bare_name(common.Algorithm.DESCRIPTOR, limit.algorithm, "ALGORITHM_"),
        "limit": limit.limit,
        "window_s": seconds_of(limit.window),
        "remaining": limit.remaining,
        "reset_s": None if at_once else seconds_of(limit.reset),
        "exceeded": limit.exceeded,
        "cost": limit.cost,
    }


def _degraded_json(degraded: common.Degraded) -> dict[str, str] | None:
    if degraded.reason == common.DEGRADED_REASON_UNSPECIFIED:
        return None
    return {
        "reason": bare_name(common.DegradedReason.DESCRIPTOR, degraded.reason, "DEGRADED_REASON_"),
        "fail_mode": bare_name(common.FailMode.DESCRIPTOR, degraded.fail_mode, "FAIL_MODE_"),
    }


def _shadow_json(verdict: common.ShadowVerdict) -> dict[str, Any]:
    return {
        "policy": verdict.policy,
        "would_deny": verdict.would_deny,
        "limits": list(verdict.limit_names),
    }


def print_answer(answer: dict[str, Any]) -> None:
    """Prints the answer for people: a line for each fact that says something, then the limits."""
    print_line(f"{answer['decision']} ({answer['reason']})")
    facts = {
        "identity": answer["identity"],
        "policies": ", ".join(answer["policies"]),
        "retry after": "" if answer["retry_after_s"] is None else f"{answer['retry_after_s']} s",
        "degraded": _degraded_words(answer["degraded"]),
        "shadow": ", ".join(_shadow_words(each) for each in answer["shadow"]),
        "message": answer["message"],
        "slot": answer["slot_id"] and f"{answer['slot_id']}, held until its life ends",
        "revision": str(answer["revision"]),
    }
    for title, text in facts.items():
        if text:
            print_line(f"{title}: {text}")
    if answer["limits"]:
        print_line("")
        print_table(_LIMIT_COLUMNS, [limit_cells(each) for each in answer["limits"]])


def limit_cells(limit: dict[str, Any]) -> list[object]:
    """Returns the cells of a limit's row."""
    return [
        limit["policy"],
        limit["name"],
        limit["algorithm"],
        limit["limit"],
        f"{limit['window_s']} s",
        limit["remaining"],
        reset_words(limit),
        limit["exceeded"],
    ]


def reset_words(limit: dict[str, Any]) -> str:
    """Returns when a limit resets, as people read it."""
    return "" if limit["reset_s"] is None else f"{limit['reset_s']} s"


def _degraded_words(degraded: dict[str, str] | None) -> str:
    return f"{degraded['reason']}, fail mode {degraded['fail_mode']}" if degraded else ""


def _shadow_words(verdict: dict[str, Any]) -> str:
    if not verdict["would_deny"]:
        return f"{verdict['policy']} would allow"
    return f"{verdict['policy']} would deny ({', '.join(verdict['limits'])})"
