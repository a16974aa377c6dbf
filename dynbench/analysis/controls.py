"""Every dynamic net against the static controls of nearest cost, on the same test images.

Without this a dynamic method has been compared with nothing: a narrower static net saves MACs too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Literal

import numpy as np

from dynbench.analysis.statistics import Flags, Paired, mcnemar, paired_intervals
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, SeedMean, seed_mean
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import times_the_macs

MATCHED = 0.05
"""Cost of method and control may differ by this fraction and still be called matched."""
TOGETHER = 512
"""Comparisons whose images are in memory at once: 20 MB of 10,000 images."""
KEPT = 4096
"""Nets whose flags are: 40 MB."""

Outcome = Literal["better", "worse", "not shown"]
"""Whether the method is shown to be better or worse than its control; or neither."""


@dataclass(frozen=True)
class Comparison:
    """A dynamic operating point and its nearest control of one static method.

    `difference` in points of top-1, method minus control, with its 95 % paired bootstrap interval over test images (the
    difference of each image is averaged over the common seeds): how far other images would move it, trained nets given.
    `seeds` says how far other trainings would: the differences of the common seeds and their Student t interval.
    `mcnemar`: the exact p-value of each common seed.
    """

    point: PointSummary
    control: PointSummary
    difference: float
    low: float
    high: float
    seeds: SeedMean
    mcnemar: tuple[float, ...]

    @property
    def outcome(self) -> Outcome:
        """By the interval over test images."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not shown"

    @property
    def trained_longer(self) -> bool:
        """Whether the control had more epochs than the method."""
        return _epochs(self.control.configuration) > _epochs(self.point.configuration)

    @property
    def macs_ratio(self) -> float:
        """Mean MACs of the method over those of the control."""
        return times_the_macs(self.point.macs.mean, self.control.macs.mean)

    @property
    def matched(self) -> bool:
        """Whether the two cost the same within `MATCHED`."""
        return abs(self.macs_ratio - 1) <= MATCHED


@dataclass(frozen=True)
class _Control:
    """An operating point of a static configuration, with what is asked of it for every dynamic one."""

    point: PointSummary
    macs: float
    epochs: int
    seeds: frozenset[int]


def _controls_of(configuration: ConfigurationRecords) -> Iterator[_Control]:
    seeds = _seeds(configuration)
    yield from (_Control(point, point.macs.mean, _epochs(configuration), seeds) for point in configuration.points)


def _epochs(configuration: ConfigurationRecords) -> int:
    return configuration.epochs or 0


def _seeds(configuration: ConfigurationRecords) -> frozenset[int]:
    return frozenset(record.run.seed for record in configuration.finished)


class _Candidates:
    """The controls of one static method that a dynamic configuration may be compared with."""

    def __init__(self, controls: Sequence[_Control], epochs: int) -> None:
        self._controls = controls
        self._macs = np.array([control.macs for control in controls])
        self._longer = np.array([control.epochs > epochs for control in controls])

    def nearest(self, macs: float) -> PointSummary:
        """Return that of nearest cost; among those that match, rather one that was not trained longer."""
        apart = np.array([abs(times_the_macs(macs, own) - 1) > MATCHED for own in self._macs])
        best = int(np.lexsort((np.abs(self._macs - macs), self._longer, apart))[0])  # the last key counts first
        return self._controls[best].point


class _FlagsOf:
    """What the nets of a results folder classified rightly, image by image.

    The last ones are kept: a control is compared with many.
    """

    def __init__(self, results: ResultsFolder) -> None:
        self._results = results
        self.of = lru_cache(KEPT)(self._read)

    def _read(self, run_id: str, point: str) -> Flags:
        arrays = self._results.arrays(run_id, f"{point}/correct")
        if not arrays:
            raise UserError(f'the per-image arrays of {run_id} have no "{point}/correct"; run it again')
        return arrays[f"{point}/correct"]

    def pairs(self, point: PointSummary, control: PointSummary) -> Iterator[tuple[Flags, Flags]]:
        """Yield those of both nets, for each common seed."""
        others = {record.run.seed: record.run_id for record in control.configuration.finished}
        for record in point.configuration.finished:
            if other := others.get(record.run.seed):
                flags = self.of(record.run_id, point.name), self.of(other, control.name)
                if flags[0].shape != flags[1].shape:
                    raise UserError(f"{record.run_id} and {other} were not tested on the same images")
                yield flags


def _compared(flags: _FlagsOf, pairs: Sequence[tuple[PointSummary, PointSummary]]) -> Iterator[Comparison]:
    """Compare each point with its control, with one drawing of resamples for all."""
    halves = [_without_interval(list(flags.pairs(*pair)), *pair) for pair in pairs]
    for (paired, make), (low, high) in zip(halves, paired_intervals([paired for paired, _ in halves]), strict=True):
        yield make(difference=100 * paired.mean, low=100 * low, high=100 * high)


def _without_interval(
    pairs: Sequence[tuple[Flags, Flags]], point: PointSummary, control: PointSummary
) -> tuple[Paired, Callable[..., Comparison]]:
    """The images' differences, and the comparison but for what is computed of them."""
    sums = np.sum([one.astype(np.int32) - other for one, other in pairs], axis=0)
    means = [100 * float(one.mean() - other.mean()) for one, other in pairs]
    made = partial(Comparison, point=point, control=control, seeds=seed_mean(means), mcnemar=mcnemar(pairs))
    return Paired(sums, len(pairs)), made


def compare_with_controls(results: ResultsFolder, known: Sequence[ConfigurationRecords]) -> tuple[Comparison, ...]:
    """Compare each finished operating point that is not a control with static ones.

    With each static method's point of nearest mean MACs: of the same data, backbone and recipe, a common seed, and no
    fewer epochs. Points without one are left out. Among those that match in cost, one of as many epochs is preferred to
    a nearer one of more.

    Raises UserError when per-image arrays are missing or damaged.
    """
    flags = _FlagsOf(results)
    found: list[Comparison] = []
    pairs = _to_compare(known)
    while some := list(islice(pairs, TOGETHER)):
        found += _compared(flags, some)
    return tuple(found)


def _to_compare(known: Sequence[ConfigurationRecords]) -> Iterator[tuple[PointSummary, PointSummary]]:
    """Operating points with the control of each static method."""
    static: defaultdict[str, defaultdict[str, list[_Control]]] = defaultdict(lambda: defaultdict(list))
    for one in known:
        if one.static:
            static[_alike(one)][one.run.method] += _controls_of(one)
    for configuration in known:
        if not configuration.static:
            candidates = list(_candidates(configuration, static[_alike(configuration)].values()))
            for point in configuration.points:
                yield from ((point, one.nearest(point.macs.mean)) for one in candidates)


def _candidates(configuration: ConfigurationRecords, by_method: Iterable[Sequence[_Control]]) -> Iterator[_Candidates]:
    """Of each method those that share a finished seed and were trained for no less."""
    epochs, seeds = _epochs(configuration), _seeds(configuration)
    for controls in by_method:
        usable = [one for one in controls if one.epochs >= epochs and not seeds.isdisjoint(one.seeds)]
        if usable:
            yield _Candidates(usable, epochs)


def _alike(configuration: ConfigurationRecords) -> str:
    """Equal for what has the same data, backbone and recipe."""
    run = configuration.run
    return "".join(part.model_dump_json() for part in (run.data, run.backbone, run.recipe))
