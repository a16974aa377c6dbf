"""Small pictures as shapes of a drawing that is stretched to the room there is: histograms, intervals and curves.

A drawing is `WIDTH` x `HEIGHT` units, y downwards, and has no words in it: those would be stretched too.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.summary import ConfigurationRecords
from dynbench.analysis.words import short_macs
from dynbench.errors import UserError
from dynbench.record.schema import EpochRecord
from dynbench.report.page.findings import Held

WIDTH, HEIGHT = 1000.0, 100.0
BINS = 40
PANELS = 16
"""Configurations that there is room for in pictures; notable ones come first."""
LISTED = 12
"""Images of a bin that are named."""
CORNERS = 60
"""Of a curve: one of more epochs is thinned to about these."""


@dataclass(frozen=True)
class Bin:
    """A bar, and what opens it.

    How many test images, how many of them answered rightly, the first of them by their numbers in the test split.
    """

    x: float
    width: float
    height: float
    words: str
    images: tuple[int, ...]


@dataclass(frozen=True)
class MacsHistogram:
    """MACs of single test images at one operating point, the seeds together. `dense`: where the dense net would be."""

    configuration: ConfigurationRecords
    point: str
    bins: tuple[Bin, ...]
    low: str
    high: str
    dense: float | None
    summary: str


def histograms(found: Analysis) -> tuple[MacsHistogram, ...]:
    """Return one for each operating point whose cost depends on the image, of the `PANELS` most notable configurations.

    Raises UserError when per-image arrays are missing or damaged.
    """
    candidates = [one for one in found.configurations if one.finished and not one.static]
    kept = {one.key for one in sorted(candidates, key=lambda one: one.key not in found.notable)[:PANELS]}
    chosen = (one for one in candidates if one.key in kept)
    drawn = (_histogram(found, one, point.name) for one in chosen for point in one.points)
    return tuple(one for one in drawn if one)


def _histogram(found: Analysis, configuration: ConfigurationRecords, point: str) -> MacsHistogram | None:
    macs, right, numbers = _per_image(found, configuration, point)
    if macs.min() == macs.max():
        return None
    counts, edges = np.histogram(macs, BINS)
    places = np.clip(np.searchsorted(edges, macs, "right") - 1, 0, BINS - 1)
    bins = tuple(
        _bin(index, int(counts[index]), counts.max(), edges, right[places == index], numbers[places == index])
        for index in range(BINS)
        if counts[index]
    )
    dense = (configuration.macs_dense - edges[0]) / (edges[-1] - edges[0])
    low, middle, high = (short_macs(float(value)) for value in np.percentile(macs, (0, 50, 100)))
    summary = f"{len(macs)} evaluations of test images; median {middle} MACs, from {low} to {high}"
    return MacsHistogram(configuration, point, bins, low, high, WIDTH * dense if 0 <= dense <= 1 else None, summary)


def _per_image(
    found: Analysis, configuration: ConfigurationRecords, point: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MACs, whether the answer was right, and the image's number in the test split; of all seeds, one after another."""
    parts = []
    for record in configuration.finished:
        arrays = found.results.arrays(record.run_id, f"{point}/macs", f"{point}/correct")
        if len(arrays) < 2:  # noqa: PLR2004
            raise UserError(f'the per-image arrays of {record.run_id} lack those of "{point}"; run it again')
        macs = arrays[f"{point}/macs"]
        parts.append((macs, arrays[f"{point}/correct"], np.arange(len(macs))))
    macs, right, numbers = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return macs, right, numbers


def _bin(index: int, count: int, most: int, edges: np.ndarray, right: np.ndarray, numbers: np.ndarray) -> Bin:
    share = 100 * float(right.mean())
    words = (
        f"{short_macs(float(edges[index]))} to {short_macs(float(edges[index + 1]))} MACs: {count} images, "
        f"{share:.1f} % of them right"
    )
    images = tuple(dict.fromkeys(numbers.tolist()))[:LISTED]
    return Bin(WIDTH * index / BINS, WIDTH / BINS, max(1.0, HEIGHT * count / most), words, images)


@dataclass(frozen=True)
class Interval:
    """Where an interval and its middle are drawn, and where no difference is."""

    low: float
    middle: float
    high: float
    zero: float


def intervals(held: Sequence[Held]) -> tuple[Interval, ...]:
    """Return where each is drawn; all on one scale, which has zero on it."""
    low = min([0.0, *(one.low for one in held)])
    high = max([0.0, *(one.high for one in held)])
    scale = WIDTH / (high - low or 1.0)
    return tuple(
        Interval(*(round(scale * (value - low), 1) for value in (one.low, one.middle, one.high, 0.0))) for one in held
    )


@dataclass(frozen=True)
class Curve:
    """A line through (x, y) `corners`, as SVG's `points` has them, from `first` to `last`, in words."""

    name: str
    corners: str
    first: str
    last: str


@dataclass(frozen=True)
class TrainingCurves:
    """The curves of a configuration: loss and validation accuracy, one of each for every seed."""

    configuration: ConfigurationRecords
    loss: tuple[Curve, ...]
    val_top1: tuple[Curve, ...]
    epochs: int


def trainings(found: Analysis) -> tuple[TrainingCurves, ...]:
    """Return the curves of the `PANELS` most notable configurations that trained for two epochs at least."""
    candidates = [one for one in found.configurations if any(len(record.history) > 1 for record in one.finished)]
    kept = {one.key for one in sorted(candidates, key=lambda one: one.key not in found.notable)[:PANELS]}
    return tuple(_training(one) for one in candidates if one.key in kept)


def _training(configuration: ConfigurationRecords) -> TrainingCurves:
    histories = {f"seed {record.run.seed}": record.history for record in configuration.finished}
    return TrainingCurves(
        configuration,
        tuple(_curves(histories.items(), lambda epoch: epoch.loss, "{:.3g}")),
        tuple(_curves(histories.items(), lambda epoch: epoch.val_top1, "{:.1f} %")),
        max(len(history) for history in histories.values()),
    )


Histories = Iterable[tuple[str, Sequence[EpochRecord]]]


def _curves(histories: Histories, value: Callable[[EpochRecord], float | None], form: str) -> Iterator[Curve]:
    """Those of two finite values at least, all on one scale."""
    found = {name: _series(history, value) for name, history in histories}
    found = {name: series for name, series in found.items() if len(series) > 1}
    values = [y for series in found.values() for _, y in series]
    low, high = min(values, default=0.0), max(values, default=1.0)
    last = max((x for series in found.values() for x, _ in series), default=1) or 1
    for name, series in found.items():
        thinned = [*series[:: max(1, len(series) // CORNERS)], series[-1]]
        places = (f"{WIDTH * x / last:.0f},{HEIGHT * (high - y) / (high - low or 1.0):.1f}" for x, y in thinned)
        yield Curve(name, " ".join(places), form.format(series[0][1]), form.format(series[-1][1]))


def _series(history: Sequence[EpochRecord], value: Callable[[EpochRecord], float | None]) -> list[tuple[int, float]]:
    pairs = ((index, value(epoch)) for index, epoch in enumerate(history))
    return [(index, found) for index, found in pairs if found is not None and isfinite(found)]
