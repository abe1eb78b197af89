"""An immutable mapping that takes small changes cheaply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Layered(Generic[K, V]):
    """A mapping whose changes lie in a thin layer above an untouched base; look-ups take two steps at most.

    The layer is folded into a new base once it is longer than the base's square root, so n changes one by one copy
    O(n * sqrt(size)) entries in all.
    """

    __slots__ = ("_base", "_layer")

    def __init__(self, base: Mapping[K, V] | None = None, layer: Mapping[K, V | None] | None = None) -> None:
        self._base: Mapping[K, V] = {} if base is None else base
        self._layer: Mapping[K, V | None] = {} if layer is None else layer

    def get(self, key: K) -> V | None:
        """Returns the value, None where there is none."""
        if key in self._layer:
            return self._layer[key]
        return self._base.get(key)

    def changed(self, changes: Mapping[K, V | None]) -> Layered[K, V]:
        """Returns the mapping with these values set; None takes a key out."""
        layer = {**self._layer, **changes}
        if len(layer) ** 2 <= len(self._base):
            return Layered(self._base, layer)
        return Layered({key: value for key, value in {**self._base, **layer}.items() if value is not None})

    def __bool__(self) -> bool:
        return any(True for _ in self.values())

    def values(self) -> Iterator[V]:
        """Yields every value."""
        yield from (value for value in self._layer.values() if value is not None)
        yield from (value for key, value in self._base.items() if key not in self._layer)
