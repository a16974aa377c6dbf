"""From figures before and after to a change with its interval, for each kind of metric.

Images are pairs where both sides have them, and so are seeds: each is compared with its own of the baseline. With two
seeds or more the intervals over images and over seeds both count; with one, that over images alone, which does not know
how far another training would be.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dynbench.analysis.statistics import (
    CONFIDENCE,
    Flags,
    bootstrap_interval,
    mcnemar,
    normal_half_width,
    paired_interval,
    two_sample_interval,
)
from dynbench.check.baseline import BaselineMacs
from dynbench.check.outcome import Change, SeedChange

Interval = tuple[float, float]
BySeed = Mapping[int, float]


def accuracy_change(before: Mapping[int, Flags], after: Mapping[int, Flags]) -> Change:
    """Top-1 in per cent, from the flags (images,) of each seed; seeds and images are the same on both sides.

    The difference of each image is averaged over the seeds, and images are resampled; what a seed lost alone is shown
    by McNemar's test on its images.
    """
    paired = np.mean([after[seed].astype(float) - before[seed] for seed in before], axis=0)
    one, other = ({seed: 100 * float(flags.mean()) for seed, flags in side.items()} for side in (before, after))
    chances = mcnemar([(before[seed], after[seed]) for seed in before])
    shown = {seed: chance < 1 - CONFIDENCE for seed, chance in zip(before, chances, strict=True)}
    return _change(one, other, shown, bootstrap_interval(100 * paired))


def macs_change(before: Mapping[int, BaselineMacs], after: Mapping[int, BaselineMacs], images: int) -> Change:
    """Return mean MACs of a dynamic net.

    The interval over images takes their costs as fully correlated between seeds, and as uncorrelated between the two
    sides: it is never too narrow. Seeds of which mean and deviation are the same to the last digit have not changed,
    and add nothing to it.
    """
    one, other = ({seed: macs.mean for seed, macs in side.items()} for side in (before, after))
    widths = {
        seed: 0.0 if before[seed] == after[seed] else _half_width(before[seed], after[seed], images) for seed in before
    }
    difference, half = _mean(other.values()) - _mean(one.values()), _mean(widths.values())
    shown = {seed: abs(other[seed] - one[seed]) > width for seed, width in widths.items()}
    return _change(one, other, shown, (difference - half, difference + half))


def _half_width(before: BaselineMacs, after: BaselineMacs, images: int) -> float:
    return math.hypot(*(normal_half_width(macs.deviation, images) for macs in (before, after)))


def seeds_change(before: BySeed, after: BySeed) -> Change:
    """Return the change of figures of whole runs, measured ones.

    For a single seed there is no interval: any change counts as significant.
    """
    return _change(before, after, dict.fromkeys(before, True), over_images=None)


def counted_change(before: BySeed, after: BySeed) -> Change:
    """Return the change of figures of whole runs that are counted and not measured.

    They have no noise, and so no interval.
    """
    seeds = tuple(SeedChange(seed, before[seed], after[seed], shown=True) for seed in before)
    return Change(_mean(before.values()), _mean(after.values()), seeds=seeds)


def exact_change(before: BySeed, after: BySeed) -> Change:
    """Return the change of figures that may not differ on any seed."""
    differs = any(before[seed] != after[seed] for seed in before)
    return Change(_mean(before.values()), _mean(after.values()), differs=differs)


def _change(before: BySeed, after: BySeed, shown: Mapping[int, bool], over_images: Interval | None) -> Change:
    intervals = [] if over_images is None else [over_images]
    if len(before) > 1:
        intervals.append(_over_seeds([before[seed] for seed in before], [after[seed] for seed in before]))
    seeds = tuple(SeedChange(seed, before[seed], after[seed], shown[seed]) for seed in before)
    return Change(_mean(before.values()), _mean(after.values()), _hull(intervals), seeds=seeds)


def _over_seeds(before: Sequence[float], after: Sequence[float]) -> Interval:
    """The narrower of two intervals that are both right.

    As pairs: on the same software a seed trains the same net, and what it differs by from other seeds is in both sides.
    As independent samples: on other software it trains another net, and twice the values say how far trainings are
    apart.
    """
    both = paired_interval(before, after), two_sample_interval(before, after)
    return min(both, key=lambda interval: interval[1] - interval[0])


def _hull(intervals: Sequence[Interval]) -> Interval | None:
    """From the lowest to the highest bound: it excludes zero where all intervals do, on the same side."""
    if not intervals:
        return None
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
