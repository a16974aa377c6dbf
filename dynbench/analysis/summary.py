"""Records -> one summary for each configuration and operating point: means and 95 % intervals over seeds."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

import numpy as np

from dynbench.plan.configuration import Configuration
from dynbench.plan.run import Run
from dynbench.record.schema import Budget, Record

T = TypeVar("T")


def pareto_front(items: Iterable[T], cost: Callable[[T], float], gain: Callable[[T], float]) -> tuple[T, ...]:
    """Return the items that no other dominates, by rising cost.

    Of another item that dominates: it costs at most as much, is at least as good, and one of the two strictly. Of equal
    items the first is kept.
    """
    front: list[T] = []
    for item in sorted(items, key=lambda item: (cost(item), -gain(item))):
        if not front or gain(item) > gain(front[-1]):
            front.append(item)
    return tuple(front)


CONTROL = "dense"
"""The static method that every suite has: nets of it differ in width."""


@dataclass(frozen=True)
class SeedMean:
    """A mean over `n` seeds; `half_width` of its 95 % interval (Student t), None for a single seed."""

    mean: float
    half_width: float | None
    n: int


@dataclass(frozen=True)
class Setting:
    """What has to be the same for runs to share a table: the suite's name, its data and its backbone."""

    suite: str
    dataset: str
    backbone: str
    width: float


@dataclass(frozen=True)
class ConfigurationRecords:
    """What the runs of one configuration came to, one record a seed."""

    of: Configuration
    records: tuple[Record, ...]

    @property
    def key(self) -> str:
        """Return what tells the configuration from all others."""
        return self.of.key

    @property
    def run(self) -> Run:
        """Return one of its runs: they differ in nothing but the seed."""
        return self.records[0].run

    @cached_property
    def setting(self) -> Setting:
        """Return the suite, data set and backbone that it belongs to."""
        run = self.run
        return Setting(run.suite, run.data.name, run.backbone.name, run.backbone.width)

    @property
    def static(self) -> bool:
        """Whether it spends the same on every image by its design: a control."""
        return self.records[0].is_static

    @property
    def dynamic(self) -> bool:
        """Whether it spends by the image by its design; of records from before that was noted, whether it did."""
        first = self.records[0]
        if first.static is None and not first.is_static:
            return any(point.macs.max > point.macs.mean for point in first.points)
        return not first.is_static

    @cached_property
    def finished(self) -> tuple[Record, ...]:
        """Return the records of its finished runs."""
        return tuple(record for record in self.records if record.status == "finished")

    @cached_property
    def failed(self) -> tuple[Record, ...]:
        """Return the records of its failed runs."""
        return tuple(record for record in self.records if record.status == "failed")

    @property
    def macs_dense(self) -> int:
        """MACs of one image through the suite's dense backbone."""
        return self.records[0].macs_dense

    @cached_property
    def budget(self) -> Budget | None:
        """What each run cost, pretraining included: of the costliest one; None when every run failed."""
        return max((record.budget for record in self.finished), key=lambda budget: budget.train_macs, default=None)

    @cached_property
    def epochs(self) -> int | None:
        """Epochs of each run, pretraining included; None when every run failed."""
        return max((record.budget.epochs for record in self.finished), default=None)

    @cached_property
    def points(self) -> tuple["PointSummary", ...]:
        """One summary for each operating point, in the method's order."""
        names = dict.fromkeys(point.name for record in self.finished for point in record.points)
        return tuple(_summarise(self, name) for name in names)


@dataclass(frozen=True)
class PointSummary:
    """One operating point over seeds.

    Accuracies in per cent, MACs per image of the test split; of p95 and gates the mean over seeds, of the costliest
    image the maximum.
    """

    configuration: ConfigurationRecords
    name: str
    val_top1: SeedMean
    test_top1: SeedMean
    test_top5: SeedMean
    macs: SeedMean
    macs_p95: float
    macs_max: int
    macs_gates: float
    audited: bool
    """Whether every run was."""

    @property
    def of_dense(self) -> float:
        """Mean MACs as a fraction of the dense backbone's."""
        return self.macs.mean / self.configuration.macs_dense


def seed_mean(values: Sequence[float]) -> SeedMean:
    """Return mean of `values` (one a seed) and its 95 % Student t interval."""
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return SeedMean(mean, None, 1)
    error = float(np.std(values, ddof=1)) / count**0.5
    return SeedMean(mean, _student(count - 1) * error, count)


@cache
def _student(freedom: int) -> float:
    """Return the half-width of Student's 95 % interval, in standard errors of the mean."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def configurations(records: Iterable[Record]) -> tuple[ConfigurationRecords, ...]:
    """Return records that differ only in their seed, together.

    Their order is by setting, dense first, widest and longest first, then the other controls.
    """
    groups: defaultdict[Configuration, list[Record]] = defaultdict(list)
    for record in records:
        groups[Configuration.of(record.run)].append(record)
    found = [ConfigurationRecords(one, tuple(sorted(group, key=_seed))) for one, group in groups.items()]
    return tuple(sorted(found, key=_order))


def _seed(record: Record) -> int:
    return record.run.seed


def _order(configuration: ConfigurationRecords) -> tuple[object, ...]:
    run = configuration.run
    setting = configuration.setting
    return (
        setting.suite,
        setting.dataset,
        setting.backbone,
        -setting.width,
        run.method != CONTROL,
        not configuration.static,
        run.method,
        -run.built.width,
        -(configuration.epochs or 0),
        configuration.key,
    )


def _summarise(configuration: ConfigurationRecords, name: str) -> PointSummary:
    points = [point for record in configuration.finished for point in record.points if point.name == name]
    return PointSummary(
        configuration=configuration,
        name=name,
        val_top1=seed_mean([point.val_top1 for point in points]),
        test_top1=seed_mean([point.test_top1 for point in points]),
        test_top5=seed_mean([point.test_top5 for point in points]),
        macs=seed_mean([point.macs.mean for point in points]),
        macs_p95=_mean(point.macs.p95 for point in points),
        macs_max=max(point.macs.max for point in points),
        macs_gates=_mean(point.macs.gates for point in points),
        audited=all(point.audited for point in points),
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
