"""Latency histograms with buckets that are 2 % wide (design: Latency buckets).

The boundaries come in as an argument, read from spec/vectors/latency by whoever does I/O: ``boundaries[i]`` is the
largest whole number of microseconds in bucket ``i`` or below. The last bucket is open.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from usageflow.domain.errors import InvalidArgument

# A bucket is 2 % wide: a value 1 % below its upper bound is at most 1 % wrong, either way.
_UPPER_TO_VALUE = 1.01


def bucket_of(us: int, boundaries: Sequence[int]) -> int:
    """Returns the index of the bucket of a duration in microseconds; negative ones count as 0."""
    return min(bisect_left(boundaries, us), len(boundaries) - 1)


def value_of(index: int, boundaries: Sequence[int]) -> float:
    """Returns the microseconds that stand for a bucket: its upper bound / 1.01.

    Raises IndexError for an index that no bucket has.
    """
    if index < 0:
        raise IndexError(index)
    return boundaries[index] / _UPPER_TO_VALUE


_ENTRY = struct.Struct("<HI")
_MOST = 2**32 - 1


def pack(histogram: Iterable[tuple[int, int]]) -> bytes:
    """Returns a histogram of (bucket, requests) as it is stored: six bytes an entry, little-endian, bucket (16 bits) and
    requests (32). Entries of one bucket add up, so histograms are added by writing one behind the other, and what does not fit
    into 32 bits stands in several entries.
    """
    pieces = []
    for bucket, requests in histogram:
        many, rest = divmod(requests, _MOST)
        pieces.append(_ENTRY.pack(bucket, _MOST) * many + _ENTRY.pack(bucket, rest))
    return b"".join(pieces)


def unpack(packed: bytes) -> Iterator[tuple[int, int]]:
    """Yields the entries of a stored histogram. Raises struct.error for what is none."""
    return _ENTRY.iter_unpack(packed)


def quantile(counts: Mapping[int, int], q: float, boundaries: Sequence[int]) -> float:
    """Returns the q-quantile in microseconds of durations counted by bucket index; 0.0 where none was counted.

    It is the value of the bucket that holds the ceil(q * n)-th smallest duration, and the first for q = 0.
    Raises InvalidArgument, field ``quantile``, for q outside 0 to 1.
    """
    if not 0.0 <= q <= 1.0:
        raise InvalidArgument.of("quantile", f"{q} is not between 0 and 1", "give the median as 0.5")
    # 0.07 * 100 is a little above 7 in binary: such an excess is no further duration.
    rank = max(1, math.ceil(q * sum(counts.values()) - 1e-6))
    seen = 0
    for index in sorted(counts):
        seen += counts[index]
        if seen >= rank:
            return value_of(index, boundaries)
    return 0.0
