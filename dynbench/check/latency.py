"""`realised`, which only advises: and not even that where anything of the machine differs."""

from collections.abc import Mapping

from dynbench.check.baseline import BaselineLatency, BaselinePoint
from dynbench.check.changes import seeds_change
from dynbench.check.outcome import Finding
from dynbench.check.pair import PointPair
from dynbench.check.rules import Rule
from dynbench.check.verdict import Verdict

FIGURES = ("realised", "realised_best")
CONDITIONS = tuple(name for name in BaselineLatency.model_fields if name not in FIGURES)
"""What has to be the same."""


def judge_latency(points: PointPair, rule: Rule) -> Finding | None:
    """None: the baseline was not timed, or not against other engines."""
    before, after = (_figures(side, rule.metric.name) for side in (points.before, points.after))
    if len(before) < len(points.before):
        return None
    if len(after) < len(points.after):
        return points.finding(rule, Verdict.REFUSED, "not timed")
    reason = _other_conditions(points)
    if reason:
        return points.finding(rule, Verdict.REFUSED, reason)
    return points.judged(rule, seeds_change(before, after))


def _figures(side: Mapping[int, BaselinePoint], name: str) -> dict[int, float]:
    """By seed, of those that have it."""
    found = {seed: getattr(point.latency, name) for seed, point in side.items() if point.latency}
    return {seed: figure for seed, figure in found.items() if figure is not None}


def _other_conditions(points: PointPair) -> str:
    """`threads 2, in the baseline 1: not comparable`; empty when everything is the same."""
    for seed, point in points.before.items():
        old, new = point.latency, points.after[seed].latency
        for name in CONDITIONS:
            before, after = getattr(old, name), getattr(new, name)
            if before != after:
                return f"{name} {after}, in the baseline {before}: not comparable"
    return ""
