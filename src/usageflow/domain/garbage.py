"""The one setting of the interpreter that making big trees depends on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Holds the search for cyclic garbage while a big tree is made: it would walk the growing tree again and again and find nothing,
    for half of the time. Short, synchronous work only.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
