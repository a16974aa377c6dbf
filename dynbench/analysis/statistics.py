"""Intervals and tests that tables and checks share. All intervals are of 95 %."""

from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000
BATCH = 100
"""Resamples held in memory at once: 100 x 10,000 images x 8 bytes is 8 MB."""

Flags = np.ndarray
"""bool (images,): whether each test image was classified rightly."""


def bootstrap_interval(differences: np.ndarray) -> tuple[float, float]:
    """Percentile interval of the mean of `differences` (images,), resampling images. Always the same."""
    from scipy.stats import bootstrap

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


def mcnemar(one: Flags, other: Flags) -> float:
    """Exact two-sided p-value: among the images that only one of two nets gets right, either is as likely."""
    from scipy.stats import binomtest

    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if only_one + only_other == 0:
        return 1.0
    return float(binomtest(only_one, only_one + only_other).pvalue)


def two_sample_interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Student t interval of mean(after) - mean(before), two independent samples of at least two values each, with their
    pooled variance."""
    from scipy.stats import t

    freedom = len(before) + len(after) - 2
    squares = sum(float(np.var(values)) * len(values) for values in (before, after))
    error = (squares / freedom * (1 / len(before) + 1 / len(after))) ** 0.5
    half = float(t.ppf((1 + CONFIDENCE) / 2, freedom) * error)
    difference = float(np.mean(after) - np.mean(before))
    return difference - half, difference + half


def normal_half_width(deviation: float, count: int) -> float:
    """Of the interval of a mean of `count` values with this standard deviation, many enough for the normal one."""
    from scipy.stats import norm

    return float(norm.ppf((1 + CONFIDENCE) / 2) * deviation / count**0.5)
