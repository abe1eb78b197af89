"""What becomes of a part before and after an attempt. Pure; times are Unix microseconds.

An attempt whose outcome is unknown may count at the destination. It is repeated under the same identifier as long as destinations
remember identifiers; after that, nobody can tell without a person.
"""

from __future__ import annotations

from dataclasses import dataclass

from usageflow.domain.billing import Method, Outcome, Part, PartState, Result

_SECOND_US = 1_000_000
_HOUR_US = 3_600 * _SECOND_US
UNKNOWN_FOR_US = 23 * _HOUR_US
"""How long an attempt may be repeated: identifiers are unique for at least 24 hours."""

OLDEST_US = (35 * 24 - 1) * _HOUR_US
"""How old usage may be for a meter event: 35 days, less an hour."""

FIRST_WAIT_US = _SECOND_US
LONGEST_WAIT_US = 300 * _SECOND_US


@dataclass(frozen=True, slots=True)
class Step:
    """What a part becomes. ``next_us`` is when it is due again, 0 for never; ``pause``: nothing more goes to its destination."""

    state: PartState
    note: str = ""
    next_us: int = 0
    pause: bool = False


def before_sending(part: Part, now_us: int) -> Step | None:
    """Returns what a part becomes that must not be sent any more; None where it goes."""
    if part.terms.resend_safe:
        return None
    if _may_count(part) and now_us - part.first_attempt_us > UNKNOWN_FOR_US:
        note = (
            "sent more than 23 hours ago without an answer: look whether it arrived (`usageflow meter reconcile`), then "
            "`usageflow meter retry --mark-sent` or `usageflow meter retry`"
        )
        return Step(PartState.AMBIGUOUS, note)
    old = now_us - part.terms.timestamp_s * _SECOND_US > OLDEST_US
    if old and part.terms.method is Method.METER_EVENT:
        note = "older than the 35 days that Stripe takes: bill it by an invoice item, then tell the customer"
        return Step(PartState.AMBIGUOUS if _may_count(part) else PartState.EXPIRED, note)
    return None


def after_sending(part: Part, outcome: Outcome, now_us: int, jitter: float) -> Step:
    """Returns what a part becomes by an attempt. ``jitter`` is 0 to 1: waits are drawn from the whole span that doubles from one second
    to five minutes (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/).
    """
    told = outcome.told
    match outcome.result:
        case Result.TAKEN:
            return Step(PartState.SENT, told)
        case Result.REFUSED:
            return Step(PartState.REJECTED, told)
        case Result.UNEXPECTED if _may_count(part):
            return Step(PartState.SENT, "an earlier attempt had arrived")
        case Result.UNEXPECTED:
            return Step(
                PartState.AMBIGUOUS, told or "the destination has one by this identifier that was never sent"
            )
        case Result.UNKNOWN:
            return Step(PartState.SENDING, told, now_us + _wait_us(part, outcome, jitter))
        case Result.AGAIN | Result.DENIED:
            state = PartState.SENDING if _may_count(part) else PartState.FROZEN
            pause = outcome.result is Result.DENIED
            return Step(state, told, now_us + _wait_us(part, outcome, jitter), pause=pause)


def _may_count(part: Part) -> bool:
    """Tells whether an attempt before this one has an unknown outcome: this one began later than the first."""
    return 0 < part.first_attempt_us < part.updated_us


def _wait_us(part: Part, outcome: Outcome, jitter: float) -> int:
    longest = min(LONGEST_WAIT_US, FIRST_WAIT_US << min(part.attempts, 20))
    return max(round(longest * jitter), round(outcome.wait_s * _SECOND_US))
