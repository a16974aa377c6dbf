"""From figures before and after to a change with its interval, for each kind of metric.

Images are pairs where both sides have them. Seeds are independent samples on either side: the same seed on other
software trains another net. With two seeds or more the intervals over images and over seeds both count; with one, that
over images alone, which does not know how far another training would be.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dynbench.analysis.statistics import Flags, bootstrap_interval, normal_half_width, two_sample_interval
from dynbench.check.baseline import BaselineMacs
from dynbench.check.outcome import Change

Interval = tuple[float, float]
BySeed = Mapping[int, float]


def accuracy_change(before: Mapping[int, Flags], after: Mapping[int, Flags]) -> Change:
    """Top-1 in per cent, from the flags (images,) of each seed; seeds and images are the same on both sides. The
    difference of each image is averaged over the seeds, and images are resampled."""
    paired = np.mean([after[seed].astype(float) - before[seed] for seed in before], axis=0)
    one, other = ([100 * float(flags.mean()) for flags in side.values()] for side in (before, after))
    return _change(one, other, over_images=bootstrap_interval(100 * paired))


def macs_change(before: Mapping[int, BaselineMacs], after: Mapping[int, BaselineMacs], images: int) -> Change:
    """Mean MACs of a dynamic net. The interval over images takes their costs as fully correlated between seeds, and as
    uncorrelated between the two sides: it is never too narrow."""
    one, other = ([macs.mean for macs in side.values()] for side in (before, after))
    widths = [normal_half_width(_mean(macs.deviation for macs in side.values()), images) for side in (before, after)]
    difference, half = _mean(other) - _mean(one), math.hypot(*widths)
    return _change(one, other, over_images=(difference - half, difference + half))


def seeds_change(before: BySeed, after: BySeed) -> Change:
    """Of figures of whole runs. For a single seed there is no interval: any change counts as significant."""
    return _change(list(before.values()), list(after.values()), over_images=None)


def exact_change(before: BySeed, after: BySeed) -> Change:
    """Of figures that may not differ on any seed."""
    differs = any(before[seed] != after[seed] for seed in before)
    return Change(_mean(before.values()), _mean(after.values()), differs=differs)


def _change(before: Sequence[float], after: Sequence[float], over_images: Interval | None) -> Change:
    intervals = [] if over_images is None else [over_images]
    if len(before) > 1:
        intervals.append(two_sample_interval(before, after))
    return Change(_mean(before), _mean(after), _hull(intervals))


def _hull(intervals: Sequence[Interval]) -> Interval | None:
    """From the lowest to the highest bound: it excludes zero where all intervals do, on the same side."""
    if not intervals:
        return None
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
