"""How each dynamic method stands against static nets of its cost: a sentence each."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dynbench.analysis.controls import Comparison
from dynbench.analysis.names import Names
from dynbench.analysis.summary import ConfigurationRecords, PointSummary
from dynbench.analysis.verdicts import verdict


@dataclass(frozen=True)
class Standing:
    """A dynamic method on one backbone, at its best operating point.

    The point of `among` that does best against static nets of its cost, and those nets.
    """

    method: str
    among: int
    point: PointSummary | None
    controls: tuple[Comparison, ...]

    def sentence(self, names: Names) -> str:
        """Say what it comes to, without a full stop."""
        if self.point is None:
            return f"{self.method} has no static net of its cost to compare it with"
        point = "" if self.point.name == "default" else f", {self.point.name}"
        best = f" (the best of {self.among} operating points)" if self.among > 1 else ""
        return f"{names.brief(self.point.configuration.run)}{point}{best} {verdict(self.controls)}"


def standings(known: Sequence[ConfigurationRecords], comparisons: Sequence[Comparison]) -> Iterator[Standing]:
    """Yield how every dynamic method of `known` that finished stands, on each backbone.

    The best point is that whose difference from the control that it does worst against is largest.
    """
    matched: defaultdict[tuple[str, str], list[Comparison]] = defaultdict(list)
    for one in comparisons:
        if one.matched:
            matched[one.point.configuration.key, one.point.name].append(one)
    points: defaultdict[tuple[object, str], list[PointSummary]] = defaultdict(list)
    for configuration in known:
        if configuration.dynamic:
            points[configuration.setting, configuration.run.method] += configuration.points
    for (_, method), its in points.items():
        held = [found for point in its if (found := matched.get((point.configuration.key, point.name)))]
        best = max(held, key=lambda found: min(one.difference for one in found), default=[])
        if its:
            yield Standing(method, len(its), best[0].point if best else None, tuple(best))
