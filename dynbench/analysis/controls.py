"""Every dynamic net against the static controls of nearest cost, on the same test images.

Without this a dynamic method has been compared with nothing: a narrower static net saves MACs too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dynbench.analysis.statistics import Flags, bootstrap_interval, mcnemar
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, SeedMean, seed_mean
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record

MATCHED = 0.05
"""Cost of method and control may differ by this fraction and still be called matched."""

Outcome = Literal["better", "worse", "not shown"]
"""Whether the method is shown to be better or worse than its control; or neither."""


@dataclass(frozen=True)
class Comparison:
    """A dynamic operating point and its nearest control of one static method. `difference` in points of top-1, method
    minus control, with its 95 % paired bootstrap interval over test images (the difference of each image is averaged
    over the common seeds): how far other images would move it, trained nets given. `seeds` says how far other trainings
    would: the differences of the common seeds and their Student t interval. `mcnemar`: the exact p-value of each
    common seed."""

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
        return self.point.macs.mean / self.control.macs.mean

    @property
    def matched(self) -> bool:
        """Whether the two cost the same within `MATCHED`."""
        return abs(self.macs_ratio - 1) <= MATCHED


def compare_with_controls(results: ResultsFolder, known: Sequence[ConfigurationRecords]) -> tuple[Comparison, ...]:
    """Each finished operating point that is not a control, against the control of nearest mean MACs of each static
    method: with the same data, backbone and recipe, a common seed, and no fewer epochs. Points without one are left
    out. Among those that match in cost, one of as many epochs is preferred to a nearer one of more.

    Raises UserError when per-image arrays are missing or damaged.
    """
    return tuple(
        _compare(results, point, control)
        for configuration in known
        if not configuration.static
        for point in configuration.points
        for control in _nearest(point, [c for c in known if c.static and _comparable(configuration, c)])
    )


def _nearest(point: PointSummary, controls: Sequence[ConfigurationRecords]) -> Iterator[PointSummary]:
    """The control of each static method."""
    for method in dict.fromkeys(control.run.method for control in controls):
        candidates = [found for control in controls if control.run.method == method for found in control.points]
        yield min(candidates, key=lambda candidate: _distance(point, candidate))


def _distance(point: PointSummary, control: PointSummary) -> tuple[bool, bool, float]:
    apart = abs(point.macs.mean / control.macs.mean - 1)
    longer = _epochs(control.configuration) > _epochs(point.configuration)
    return apart > MATCHED, longer, abs(control.macs.mean - point.macs.mean)


def _epochs(configuration: ConfigurationRecords) -> int:
    return configuration.epochs or 0


def _comparable(one: ConfigurationRecords, other: ConfigurationRecords) -> bool:
    a, b = one.run, other.run
    same = (a.data, a.backbone, a.recipe) == (b.data, b.backbone, b.recipe)
    return same and bool(_common(one, other)) and _epochs(other) >= _epochs(one)


def _common(one: ConfigurationRecords, other: ConfigurationRecords) -> list[tuple[Record, Record]]:
    """The finished runs of both that share a seed."""
    by_seed = {record.run.seed: record for record in other.finished}
    return [(record, by_seed[record.run.seed]) for record in one.finished if record.run.seed in by_seed]


def _compare(results: ResultsFolder, point: PointSummary, control: PointSummary) -> Comparison:
    pairs = list(_pairs(results, point, control))
    differences = np.mean([one.astype(float) - other for one, other in pairs], axis=0)
    low, high = bootstrap_interval(differences)
    return Comparison(
        point,
        control,
        difference=100 * float(differences.mean()),
        low=100 * low,
        high=100 * high,
        seeds=seed_mean([100 * float(one.mean() - other.mean()) for one, other in pairs]),
        mcnemar=tuple(mcnemar(one, other) for one, other in pairs),
    )


def _pairs(results: ResultsFolder, point: PointSummary, control: PointSummary) -> Iterator[tuple[Flags, Flags]]:
    for one, other in _common(point.configuration, control.configuration):
        flags = _correct(results, one, point.name), _correct(results, other, control.name)
        if flags[0].shape != flags[1].shape:
            raise UserError(f"{one.run_id} and {other.run_id} were not tested on the same images")
        yield flags


def _correct(results: ResultsFolder, record: Record, point: str) -> Flags:
    arrays = results.arrays(record.run_id)
    if f"{point}/correct" not in arrays:
        raise UserError(f'the per-image arrays of {record.run_id} have no "{point}/correct"; run it again')
    return arrays[f"{point}/correct"]
