"""The whole curve of a dynamic method with several operating points, against the curve of static nets.

A method that is better at one cost and worse at another is neither: what counts is the area between the two curves,
over the MACs that both of them reach. Between neighbouring points accuracies are interpolated in a line; the area is
then a weighted sum of accuracies, and so a mean over test images of a sum of right answers, which can be paired.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dynbench.analysis.controls import Outcome
from dynbench.analysis.statistics import bootstrap_interval, normal_half_width
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, SeedMean, seed_mean
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import times_the_macs

LEAST = 3
"""Points that answer differently make a curve; two cost modes of the same answers do not."""
SAME = 0.005
"""Static nets whose MACs differ by no more than this fraction are one place of their curve."""


@dataclass(frozen=True)
class BandPoint:
    """The method's accuracy less the static nets' at `macs` an image.

    In points of top-1, with the half-width of its 95 % interval over test images; `static`: the static nets' accuracy
    in per cent.
    """

    macs: float
    static: float
    difference: float
    half_width: float


@dataclass(frozen=True)
class CurveComparison:
    """Compares the curve of a method with the curve of one static method.

    `points` are the method's and `controls` the static method's, both by rising cost, from `start` to `end` MACs an
    image, which both reach. `difference`: the mean distance of the curves there, in points of top-1, the method's less
    the controls', with its 95 % paired bootstrap interval over test images; `seeds`: over the common seeds, with
    Student's interval. The area is `difference` times the range.
    """

    points: tuple[PointSummary, ...]
    controls: tuple[PointSummary, ...]
    start: float
    end: float
    difference: float
    low: float
    high: float
    seeds: SeedMean
    band: tuple[BandPoint, ...]

    @property
    def configuration(self) -> ConfigurationRecords:
        return self.points[0].configuration

    @property
    def control(self) -> str:
        """The static method."""
        return self.controls[0].configuration.run.method

    @property
    def area(self) -> float:
        """Between the curves, in points of top-1 times MACs."""
        return self.difference * (self.end - self.start)

    @property
    def outcome(self) -> Outcome:
        """By the interval over test images."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not shown"


def compare_curves(results: ResultsFolder, known: Sequence[ConfigurationRecords]) -> tuple[CurveComparison, ...]:
    """Compare each dynamic configuration that has a curve with each static method.

    Only static methods of which two nets or more are comparable with it. Raises UserError when per-image arrays are
    missing or damaged.
    """
    return tuple(
        found
        for one in known
        if not one.static and len(points := curve_of(one)) >= LEAST
        for controls in _control_curves(one, known)
        if (found := _compare(results, points, controls)) is not None
    )


def curve_of(one: ConfigurationRecords) -> tuple[PointSummary, ...]:
    """Return the operating points that answer differently, by rising cost.

    Of those that answer the same, the cheapest.
    """
    ordered = sorted(one.points, key=lambda point: point.macs.mean)
    trades: dict[tuple[object, ...], PointSummary] = {}
    for point in ordered:
        key = (point.val_top1.mean, point.test_top1.mean, point.test_top5.mean)
        trades.setdefault(key, point)
    return tuple(trades.values())


def _control_curves(
    one: ConfigurationRecords, known: Sequence[ConfigurationRecords]
) -> Iterator[tuple[PointSummary, ...]]:
    """Of each static method the comparable nets, by rising cost; of nets of the same cost, the one of fewest epochs."""
    static = [other for other in known if other.static and _comparable(one, other)]
    for method in dict.fromkeys(other.run.method for other in static):
        chosen: list[PointSummary] = []
        nets = sorted((other for other in static if other.run.method == method), key=lambda net: net.epochs or 0)
        for point in (point for net in nets for point in net.points):
            if all(abs(times_the_macs(point.macs.mean, other.macs.mean) - 1) > SAME for other in chosen):
                chosen.append(point)
        yield tuple(sorted(chosen, key=lambda point: point.macs.mean))


def _compare(
    results: ResultsFolder, points: Sequence[PointSummary], controls: Sequence[PointSummary]
) -> CurveComparison | None:
    """None where the two have no range of MACs, or no seed, in common."""
    own, static = (np.array([point.macs.mean for point in curve]) for curve in (points, controls))
    start, end = max(own[0], static[0]), min(own[-1], static[-1]) if len(static) > 1 else static[0]
    seeds = _common_seeds((*points, *controls))
    if start >= end or not seeds:
        return None
    right = [(_flags(results, points, seed), _flags(results, controls, seed)) for seed in seeds]

    def distance(macs: np.ndarray, over: np.ndarray) -> list[np.ndarray]:
        """Return for each seed, by test image, the distance at `macs` (places,), weighted by `over`."""
        mine, theirs = over @ interpolation(own, macs), over @ interpolation(static, macs)
        return [mine @ one - theirs @ other for one, other in right]

    inner = [value for value in (*own, *static) if start < value < end]
    places = np.unique(np.array([start, *inner, end]))
    by_seed = distance(places, trapezium(places))
    low, high = bootstrap_interval(np.mean(by_seed, axis=0))
    rows = np.eye(len(places))
    band = [
        _band_point(place, interpolation(static, places)[index], right, np.mean(distance(places, rows[index]), axis=0))
        for index, place in enumerate(places.tolist())
    ]
    return CurveComparison(
        tuple(points),
        tuple(controls),
        float(start),
        float(end),
        difference=100 * float(np.mean(by_seed)),
        low=100 * low,
        high=100 * high,
        seeds=seed_mean([100 * float(one.mean()) for one in by_seed]),
        band=tuple(band),
    )


def _band_point(
    place: float, weights: np.ndarray, right: Sequence[tuple[np.ndarray, np.ndarray]], differences: np.ndarray
) -> BandPoint:
    static = 100 * float(np.mean([(weights @ other).mean() for _, other in right]))
    width = 100 * normal_half_width(float(differences.std(ddof=1)), len(differences))
    return BandPoint(place, static, 100 * float(differences.mean()), width)


def interpolation(nodes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the weights (places, n) of piecewise linear interpolation.

    They say how much of the value at each of the rising `nodes` (n,) a piecewise linear curve through them takes at
    `places`.
    """
    return np.stack([np.interp(places, nodes, row) for row in np.eye(len(nodes))], axis=1)


def trapezium(places: np.ndarray) -> np.ndarray:
    """Return weights (places,) of a mean over the range of rising `places`, by the trapezium rule; they add up to 1."""
    steps = np.diff(places)
    return np.asarray((np.append(steps, 0) + np.append(0, steps)) / (2 * (places[-1] - places[0])))


def _comparable(one: ConfigurationRecords, other: ConfigurationRecords) -> bool:
    """Whether `other` may be a control of `one`: the same data, backbone and recipe, no fewer epochs."""
    mine, theirs = one.run, other.run
    same = (mine.data, mine.backbone, mine.recipe) == (theirs.data, theirs.backbone, theirs.recipe)
    return same and (other.epochs or 0) >= (one.epochs or 0)


def _common_seeds(points: Sequence[PointSummary]) -> list[int]:
    found = [{record.run.seed for record in point.configuration.finished} for point in points]
    return sorted(set.intersection(*found))


def _flags(results: ResultsFolder, points: Sequence[PointSummary], seed: int) -> np.ndarray:
    """Right answers of the runs of a seed: float64 (points, images)."""
    rows = []
    for point in points:
        (record,) = [record for record in point.configuration.finished if record.run.seed == seed]
        name = f"{point.name}/correct"
        arrays = results.arrays(record.run_id, name)
        if name not in arrays:
            raise UserError(f'the per-image arrays of {record.run_id} have no "{name}"; run it again')
        rows.append(arrays[name].astype(float))
    return np.stack(rows)
