"""Intervals and tests that tables and checks share. All intervals are of 95 %."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000
BATCH = 100
"""Resamples held in memory at once: 100 x 10,000 images x 8 bytes is 8 MB."""

Flags = np.ndarray
"""bool (images,): whether each test image was classified rightly."""


def bootstrap_interval(differences: np.ndarray) -> tuple[float, float]:
    """Percentile interval of the mean of `differences` (images,) in points of accuracy, resampling images.

    Always the same. A single image says nothing of others: all that is possible.
    """
    from scipy.stats import bootstrap

    if len(differences) == 1:
        return -100.0, 100.0
    result = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=BATCH,
        vectorized=True,
        method="percentile",
        confidence_level=CONFIDENCE,
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


@dataclass(frozen=True)
class Paired:
    """Compares two nets on the same images.

    The `sums` over `count` common seeds of what the first gets right and the other does not (1, or -1 the other way
    round), int (images,).
    """

    sums: np.ndarray
    count: int

    @property
    def mean(self) -> float:
        """Over images and seeds."""
        return float(self.sums.sum() / (len(self.sums) * self.count))


def paired_intervals(paired: Sequence[Paired]) -> list[tuple[float, float]]:
    """Return `bootstrap_interval` of each of `paired`, as fractions, with images weighted alike.

    The resamples are drawn once for all of them.

    What a resample comes to is how often it took each image, times the images' sums: a product of matrices in place of
    a gathering of images for each pair. Equal sums are multiplied once: the operating points of one net often answer
    alike.
    """
    distinct = {(one.sums.tobytes(), len(one.sums)): one.sums for one in paired}
    found: dict[tuple[bytes, int], np.ndarray] = {}
    for images in {size for _, size in distinct}:
        keys = [key for key in distinct if key[1] == images]
        found |= dict(zip(keys, _resampled(np.stack([distinct[key] for key in keys])), strict=True))
    tails = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    ends = (
        np.percentile(found[one.sums.tobytes(), len(one.sums)] / (len(one.sums) * one.count), tails)
        if len(one.sums) > 1
        else (-1.0, 1.0)  # as of a single image in `bootstrap_interval`
        for one in paired
    )
    return [(float(low), float(high)) for low, high in ends]


def _resampled(sums: np.ndarray) -> np.ndarray:
    """Total of `sums` (pairs, images) over each resample of the images: float64 (pairs, RESAMPLES). Exact."""
    pairs, images = sums.shape
    exact: Any = np.float32 if images * int(np.abs(sums).max()) < 2**24 else np.float64
    transposed = np.ascontiguousarray(sums.T, dtype=exact)
    totals = np.empty((pairs, RESAMPLES))
    rng = np.random.default_rng(0)
    rows = images * np.arange(BATCH)[:, None]
    for start in range(0, RESAMPLES, BATCH):
        drawn = (rng.integers(0, images, (BATCH, images)) + rows).ravel()  # as scipy.stats.bootstrap draws them
        taken = np.bincount(drawn, minlength=BATCH * images).reshape(BATCH, images)
        totals[:, start : start + BATCH] = (taken.astype(exact) @ transposed).T
    return totals


def mcnemar(pairs: Sequence[tuple[Flags, Flags]]) -> tuple[float, ...]:
    """Exact two-sided p-value of each pair: among the images that only one of two nets gets right, either is as likely.

    That is a binomial test at one half, whose two tails are alike.
    """
    from scipy.special import bdtr

    only_one = np.array([int((one & ~other).sum()) for one, other in pairs])
    only_other = np.array([int((other & ~one).sum()) for one, other in pairs])
    tails = 2 * bdtr(np.minimum(only_one, only_other), only_one + only_other, 0.5)
    return tuple(np.minimum(1.0, tails).tolist())


def two_sample_interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Return the Student t interval of mean(after) - mean(before).

    The samples are independent, of at least two values each; their variance is pooled.
    """
    from scipy.special import stdtrit

    freedom = len(before) + len(after) - 2
    squares = sum(float(np.var(values)) * len(values) for values in (before, after))
    error = (squares / freedom * (1 / len(before) + 1 / len(after))) ** 0.5
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2) * error)
    difference = float(np.mean(after) - np.mean(before))
    return difference - half, difference + half


def paired_interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Student t interval of mean(after - before), of at least two pairs in the same order."""
    from scipy.special import stdtrit

    differences = np.subtract(after, before)
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    half = float(stdtrit(len(differences) - 1, (1 + CONFIDENCE) / 2) * error)
    return float(differences.mean()) - half, float(differences.mean()) + half


def normal_half_width(deviation: float, count: int) -> float:
    """Return half the width of the interval of a mean of `count` values with this standard deviation.

    The values are many enough for the normal one.
    """
    from scipy.special import ndtri

    return float(ndtri((1 + CONFIDENCE) / 2) * deviation / count**0.5)
