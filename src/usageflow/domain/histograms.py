"""Arithmetic on packed latency histograms (usageflow.domain.latency), many at once. Pure.

Only what folds or answers imports this module: numpy takes a tenth of a second to load.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from usageflow.domain.latency import pack, value_of

Counts = NDArray[np.float64]
"""Requests per bucket. Doubles, because numpy adds weights in them: exact below 2^53."""

_ENTRY = np.dtype([("bucket", "<u2"), ("requests", "<u4")])
_MOST = 2**32 - 1
_PART_BYTES = 64 * 1024
_BUCKET_BITS = 16


def counts_of(histograms: Sequence[bytes], buckets: int) -> Counts:
    """Returns the requests per bucket of all histograms together."""
    counts = np.zeros(buckets)
    for part in _parts(histograms):
        entries = np.frombuffer(part, _ENTRY)
        more = np.bincount(entries["bucket"], weights=entries["requests"], minlength=buckets)
        counts = added(counts, more.astype(np.float64, copy=False))
    return counts


def added(counts: Counts, more: Counts) -> Counts:
    """Returns both together, in the longer of the two arrays: what a later version stored may have more buckets."""
    if len(counts) < len(more):
        counts, more = more, counts
    counts[: len(more)] += more
    return counts


def _parts(histograms: Sequence[bytes]) -> Iterator[bytes]:
    """Yields all histograms, joined to parts: arrays that stay in the processor's cache take a third of the time of one that is as
    long as all of them.
    """
    part: list[bytes] = []
    size = 0
    for each in histograms:
        part.append(each)
        size += len(each)
        if size >= _PART_BYTES:
            yield b"".join(part)
            part, size = [], 0
    if part:
        yield b"".join(part)


def quantiles(counts: Counts, shares: Sequence[float], boundaries: Sequence[int]) -> tuple[float, ...] | None:
    """Returns quantiles in microseconds, as usageflow.domain.latency.quantile does; None where nothing was counted."""
    sums = np.cumsum(counts)
    if not sums.size or sums[-1] == 0:
        return None
    ranks = [max(1, math.ceil(share * float(sums[-1]) - 1e-6)) for share in shares]
    return tuple(value_of(int(index), boundaries) for index in np.searchsorted(sums, ranks))


def normalised(histograms: Sequence[bytes]) -> list[bytes]:
    """Returns each histogram with one entry per bucket, in order: written one behind the other they would grow for ever.

    O(n log n) in all entries together; a bucket of more than 2^32 - 1 requests keeps several entries.
    """
    entries = np.frombuffer(b"".join(histograms), _ENTRY)
    if not entries.size:
        return [b""] * len(histograms)
    sizes = np.fromiter(map(len, histograms), np.int64, len(histograms)) // _ENTRY.itemsize
    slots = np.repeat(np.arange(len(histograms)), sizes) << _BUCKET_BITS | entries["bucket"]
    order = np.argsort(slots)
    slots, requests = slots[order], entries["requests"].astype(np.int64)[order]
    firsts = np.flatnonzero(np.diff(slots, prepend=-1))
    return _packed(slots[firsts], np.add.reduceat(requests, firsts), len(histograms))


def _packed(slots: NDArray[np.int64], requests: NDArray[np.int64], rows: int) -> list[bytes]:
    """Returns rows of entries whose slot is row x 2^16 + bucket, in order."""
    buckets = slots & (1 << _BUCKET_BITS) - 1
    ends = np.searchsorted(slots, np.arange(rows + 1) << _BUCKET_BITS).tolist()
    if requests.max() > _MOST:
        pairs = list(zip(buckets.tolist(), requests.tolist(), strict=True))
        return [pack(pairs[start:end]) for start, end in pairwise(ends)]
    made = np.empty(len(slots), _ENTRY)
    made["bucket"], made["requests"] = buckets, requests
    data, size = made.tobytes(), _ENTRY.itemsize
    return [data[start * size : end * size] for start, end in pairwise(ends)]
