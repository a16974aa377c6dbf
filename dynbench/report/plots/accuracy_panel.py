"""What the accuracy plot draws for one data set."""

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from math import ceil
from string import ascii_letters

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.literature import Quoted, quoted_on
from dynbench.analysis.names import Names
from dynbench.analysis.summary import CONTROL, ConfigurationRecords, PointSummary
from dynbench.data.catalogue import caveat
from dynbench.report.plots.style import LABELS, point_markers

REACH = 3
"""Quoted points that cost more than this times the costliest measured one, or less than the cheapest divided by
it, would squash the measured ones: they are counted in the caption instead."""


@dataclass(frozen=True)
class Panel:
    """What is drawn for one data set."""

    dataset: str
    points: tuple[PointSummary, ...]
    quoted: tuple[Quoted, ...]
    left_out: int
    front: tuple[PointSummary, ...]
    """The Pareto front of the measured points, by rising cost."""
    names: Names
    found: Analysis

    @cached_property
    def costs(self) -> list[float]:
        """MACs of everything drawn."""
        return [*(point.macs.mean for point in self.points), *(row.macs for row in self.quoted)]

    @cached_property
    def backbones(self) -> list[str]:
        """Return the names of the backbones, each once."""
        return list(dict.fromkeys(point.configuration.setting.backbone for point in self.points))

    @property
    def title(self) -> str:
        """Return the panel's title, with the data set's caveat."""
        warning = caveat(self.dataset)
        return f"{self.dataset}, {', '.join(self.backbones)}" + (f"\n{self.dataset}: {warning}" if warning else "")

    @property
    def unit(self) -> tuple[float, str]:
        """Return how many MACs the axis's unit is, and its name."""
        return (1e9, "GMACs") if max(self.costs) >= 1e9 else (1e6, "MMACs")  # noqa: PLR2004

    @cached_property
    def trainings(self) -> list[list[PointSummary]]:
        """The operating points of each configuration."""
        return [list(group) for _, group in groupby(self.points, key=lambda point: point.configuration.key)]

    @cached_property
    def control_curves(self) -> list[list[PointSummary]]:
        """The static nets of one method and budget, each curve by rising cost."""
        controls = sorted((p for p in self.points if p.configuration.static), key=_family)
        return [sorted(curve, key=lambda p: p.macs.mean) for _, curve in groupby(controls, key=_family)]

    @property
    def letters(self) -> str:
        """One for each quoted point."""
        return ascii_letters[: len(self.quoted)]

    @cached_property
    def markers(self) -> dict[str, str]:
        """A marker for each operating point."""
        return point_markers(point.name for point in self.points)

    def configurations(self, method: str) -> list[ConfigurationRecords]:
        """Return the trainings of a method."""
        return self._by_method[method]

    @cached_property
    def _by_method(self) -> dict[str, list[ConfigurationRecords]]:
        found: dict[str, list[ConfigurationRecords]] = {}
        for first, *_ in self.trainings:
            found.setdefault(first.configuration.run.method, []).append(first.configuration)
        return found

    @property
    def labelled(self) -> list[list[PointSummary]]:
        """The trainings that are labelled: of more than `LABELS`, the notable ones, and of those no more either."""
        if len(self.trainings) <= LABELS:
            return self.trainings
        chosen = [points for points in self.trainings if points[0].configuration.key in self.found.notable]
        return chosen[:: ceil(len(chosen) / LABELS)]

    def shared(self, method: str) -> list[str]:
        """Return the parameters that all of a method's trainings have, in words."""
        return self.names.shared(self.configurations(method)[0].run)

    def differing(self, configuration: ConfigurationRecords) -> str:
        """Return the parameters that tell a training from the method's others, one a line.

        Empty when there are none.
        """
        method = configuration.run.method
        if len(self.configurations(method)) == 1:
            return ""
        words = self.names.differing(configuration.run)
        if len(self.backbones) > 1:
            words.append(configuration.setting.backbone)
        if method == CONTROL:
            others = [word for word in words if not word.startswith("width=")]
            words = [f"width {configuration.run.built.width:.3g}", *others]
        return "\n".join(words) or "defaults"


def make_panel(found: Analysis, dataset: str) -> Panel:
    """Return the points measured on a data set, and the quoted ones that are near enough in cost."""
    chosen = tuple(point for point in found.points if point.configuration.setting.dataset == dataset)
    costs = [point.macs.mean for point in chosen]
    rows = quoted_on(dataset, found.literature)
    near = tuple(row for row in rows if min(costs) / REACH <= row.macs <= max(costs) * REACH)
    names = Names.of(point.configuration.run for point in chosen)
    return Panel(dataset, chosen, near, len(rows) - len(near), found.fronts[dataset], names, found)


def _family(point: PointSummary) -> str:
    """Static nets of one method that differ in their cost only: dense ones in width, pruned ones in what is left."""
    run, epochs = point.configuration.run, point.configuration.epochs
    return f"{run.method} {epochs} {run.suite} {run.backbone.model_dump_json()} {run.recipe.model_dump_json()}"
