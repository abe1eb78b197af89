"""Idempotency keys as Stripe keeps them (https://docs.stripe.com/api/idempotent_requests): the first answer to a key is given again, errors of the
server too, for 24 hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from usageflow.standin.errors import StripeError

KEPT_S = 86_400
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body and headers."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class _Kept:
    fingerprint: str
    at_s: float
    answer: Answer | None = None


@dataclass
class IdempotencyKeys:
    """The keys of one account."""

    _keys: dict[str, _Kept] = field(default_factory=dict)

    def begin(self, key: str, fingerprint: str, now_s: float) -> Answer | None:
        """Returns the answer that a key has; None for a new one, which is in use until ``end``. Raises StripeError where the request is another one, or
        the first is still being carried out.
        """
        if len(key) > _LONGEST:
            raise StripeError(400, "Idempotency keys are at most 255 characters", type="idempotency_error")
        kept = self._keys.get(key)
        if kept is None or now_s - kept.at_s > KEPT_S:
            self._keys[key] = _Kept(fingerprint, now_s)
            return None
        if kept.fingerprint != fingerprint:
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request."
            )
            raise StripeError(400, message, type="idempotency_error")
        if kept.answer is None:
            message = "There is currently another in-progress request using this Idempotent Key."
            raise StripeError(409, message, type="idempotency_error", code="idempotency_key_in_use")
        return kept.answer

    def end(self, key: str, answer: Answer | None) -> None:
        """Keeps the answer to a key; None frees it: nothing was carried out."""
        if answer is None:
            self._keys.pop(key, None)
        else:
            self._keys[key].answer = answer
