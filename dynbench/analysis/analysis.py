"""Everything that was found in a results folder: made once, and passed to whatever shows it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from dynbench.analysis.claims import Claim, claims
from dynbench.analysis.controls import Comparison, compare_with_controls
from dynbench.analysis.curves import CurveComparison, compare_curves
from dynbench.analysis.latency import Block, blocks
from dynbench.analysis.literature import Quoted, beside, read_literature
from dynbench.analysis.names import Names
from dynbench.analysis.standing import Standing, standings
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, Setting, configurations, pareto_front
from dynbench.analysis.verdicts import verdicts
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record


@dataclass(frozen=True)
class Analysis:
    """What `records`, which lie in `results`, come to. Each finding is computed when it is first asked for, and once.

    `given_literature`: the papers' rows; None: those that come with dynbench.
    """

    results: ResultsFolder
    records: tuple[Record, ...]
    given_literature: tuple[Quoted, ...] | None = None

    @classmethod
    def of(
        cls,
        results: ResultsFolder,
        records: Iterable[Record] | None = None,
        literature: Sequence[Quoted] | None = None,
    ) -> "Analysis":
        """Return the analysis of all records in `results`, or of those given, beside the papers' rows.

        Raises UserError when there are no records.
        """
        chosen = results.records() if records is None else records
        return cls(results, tuple(chosen), None if literature is None else tuple(literature))

    @cached_property
    def literature(self) -> tuple[Quoted, ...]:
        """What papers print, rejected rows too. Raises UserError when the file is faulty."""
        return read_literature() if self.given_literature is None else self.given_literature

    @cached_property
    def configurations(self) -> tuple[ConfigurationRecords, ...]:
        """Records that differ only in their seed, together, in the order of the tables."""
        return configurations(self.records)

    @cached_property
    def names(self) -> Names:
        """What the configurations are called beside each other."""
        return Names.of(configuration.run for configuration in self.configurations)

    @cached_property
    def settings(self) -> Mapping[Setting, tuple[ConfigurationRecords, ...]]:
        """The configurations that share a table."""
        return {
            setting: tuple(chosen)
            for setting, chosen in groupby(self.configurations, key=lambda configuration: configuration.setting)
        }

    @cached_property
    def points(self) -> tuple[PointSummary, ...]:
        """Every finished operating point, over its seeds."""
        return tuple(point for configuration in self.configurations for point in configuration.points)

    @cached_property
    def failed(self) -> tuple[Record, ...]:
        """The runs that failed."""
        return tuple(record for configuration in self.configurations for record in configuration.failed)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Dynamic operating points against their static controls.

        Raises UserError when per-image arrays are missing or damaged.
        """
        return compare_with_controls(self.results, self.configurations)

    @cached_property
    def curves(self) -> tuple[CurveComparison, ...]:
        """Dynamic methods with a curve of operating points against static nets' curves. Raises as `comparisons`."""
        return compare_curves(self.results, self.configurations)

    @cached_property
    def verdicts(self) -> tuple[str, ...]:
        """What the comparisons come to, in words. Raises as `comparisons`."""
        return tuple(verdicts(self.comparisons))

    @cached_property
    def standings(self) -> tuple[Standing, ...]:
        """How each dynamic method stands against static nets of its cost. Raises as `comparisons`."""
        return tuple(standings(self.configurations, self.comparisons))

    @cached_property
    def latency(self) -> tuple[Block, ...]:
        """What was timed, together where it may be compared; empty when nothing was."""
        return blocks(self.configurations, self.records)

    @cached_property
    def claims(self) -> Mapping[Setting, tuple[Claim, ...]]:
        """The papers' figures that runs of a setting answer."""
        return {setting: claims(setting, chosen, self.literature) for setting, chosen in self.settings.items()}

    @cached_property
    def quoted(self) -> tuple[Quoted, ...]:
        """What papers print of the measured backbones, and what else stands in the same tables."""
        return beside([(setting.dataset, setting.backbone) for setting in self.settings], self.literature)

    @cached_property
    def notable(self) -> frozenset[str]:
        """Return keys of the configurations that are labelled, or drawn, where there is no room for all.

        These are the ones on a front, and the ones that the standings name. Raises as `comparisons`.
        """
        points = [*(point for front in self.fronts.values() for point in front)]
        points += [standing.point for standing in self.standings if standing.point]
        return frozenset(point.configuration.key for point in points)

    @cached_property
    def fronts(self) -> Mapping[str, tuple[PointSummary, ...]]:
        """The Pareto front of the measured points of each data set, by rising cost. Quoted points are never on it."""
        datasets = dict.fromkeys(point.configuration.setting.dataset for point in self.points)
        return {
            dataset: pareto_front(
                [point for point in self.points if point.configuration.setting.dataset == dataset],
                lambda point: point.macs.mean,
                lambda point: point.test_top1.mean,
            )
            for dataset in datasets
        }
