"""What the application says about a request while it runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from google.protobuf import json_format, struct_pb2

MAX_METADATA_BYTES: Final = 16_384
MAX_QUANTITY: Final = 1e15
MAX_CONSUMER_BYTES: Final = 256


@dataclass(slots=True)
class RequestData:
    """Set by the hooks, read when the event is built."""

    quantity: float | None = None
    consumer: str = ""
    metadata: struct_pb2.Struct | None = None
    _fields: dict[str, object] = field(default_factory=dict)

    def add_metadata(self, fields: Mapping[str, object]) -> None:
        """Adds fields; one that is there already is replaced. Raises as `checked_metadata` does, changing nothing."""
        given: object = fields  # what a program passes is not what its annotation says
        if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
            raise TypeError(f"metadata is a dict with texts as keys, not {fields!r:.80}")
        merged = {**self._fields, **fields}
        self.metadata = checked_metadata(merged)
        self._fields = merged


def checked_quantity(quantity: float) -> float:
    """Returns units used. Raises TypeError or ValueError where they are not finite, 0 to 1e15."""
    if isinstance(quantity, bool) or not isinstance(quantity, int | float):
        raise TypeError(f"quantity is a number of units such as 12 or 0.5, not {quantity!r}")
    if not math.isfinite(quantity) or not 0 <= quantity <= MAX_QUANTITY:
        raise ValueError(f"quantity must be between 0 and 1e15 units, not {quantity!r}; split larger amounts")
    return float(quantity)


def checked_consumer(consumer: str) -> str:
    """Returns the consumer. Raises TypeError or ValueError where it is not text of 1 to 256 bytes."""
    if not isinstance(consumer, str):
        raise TypeError(f"consumer is a text such as 'user-1', not {consumer!r}; convert it with str()")
    if not 1 <= len(consumer.encode(errors="surrogatepass")) <= MAX_CONSUMER_BYTES:
        raise ValueError("consumer must have 1 to 256 bytes; use a short, stable id rather than a token")
    return consumer.encode(errors="replace").decode()


def checked_metadata(fields: dict[str, object]) -> struct_pb2.Struct:
    """Returns metadata as JSON values. Raises ValueError where it is not plain JSON or over 16 KiB."""
    try:
        text = json.dumps(fields, allow_nan=False)
        struct = json_format.ParseDict(json.loads(text), struct_pb2.Struct())
    except (TypeError, ValueError, RecursionError, json_format.Error) as error:
        raise ValueError(
            f"metadata must be plain JSON values: {error}; convert them first, e.g. with str()"
        ) from error
    if len(text) > MAX_METADATA_BYTES:
        raise ValueError(
            f"metadata is {len(text)} bytes as JSON, above 16384: keep ids and numbers, not documents"
        )
    return struct
