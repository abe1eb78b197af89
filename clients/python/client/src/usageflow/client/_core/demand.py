"""How many requests of one key are to be expected, in whole numbers, so that every language wishes the same.

A key's weight is the number of its past requests, each fading with age: over a time t by life / (life + t), the implicit Euler
step of e^(-t / life). Requests that come evenly every g microseconds make it exactly life / g just before each of them: what
the next life will bring. A key that is new or was silent for a life weighs nothing.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

ONE: Final = 256
"""What a request weighs when it comes."""
MAX_TOKENS: Final = 1_000_000
MAX_LIFE_US: Final = 10_000_000
"""Products stay below 2^53, which languages that count in doubles keep exactly."""


def counted(weight: int, elapsed_us: int, life_us: int) -> int:
    """Returns the weight after one more request, `elapsed_us` after the last; a clock that went back fades nothing."""
    if elapsed_us >= life_us:
        return ONE
    faded = weight * life_us // (life_us + elapsed_us) if elapsed_us > 0 else weight
    return min(faded, (MAX_TOKENS - 1) * ONE) + ONE


def expected(weight: int) -> int:
    """Returns the requests to expect in the next life, rounded up, as of just before the last one that was counted."""
    return -(-(weight - ONE) // ONE)


def sized(demand: int, *, lost: bool) -> int:
    """Returns the tokens to hold for a demand, less than its mean, since requests come at random and a token that nobody uses is a
    request that somebody else may lack: one deviation less, or two where unused tokens are `lost` instead of coming back.
    """
    return max(demand - isqrt(demand) * (2 if lost else 1), 0)
