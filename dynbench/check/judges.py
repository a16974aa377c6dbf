"""For each way in which metrics are compared, who does it."""

from collections.abc import Callable, Mapping

from dynbench.check.baseline import BaselineLatency, BaselineMacs, BaselinePoint
from dynbench.check.changes import accuracy_change, counted_change, exact_change, macs_change, seeds_change
from dynbench.check.outcome import Change, Finding, Pair, PointPair, Verdict
from dynbench.check.verdict import judge
from dynbench.suite.rules import METRICS, Rule

CONDITIONS = tuple(name for name in BaselineLatency.model_fields if name not in METRICS)
"""What has to be the same."""


def judge_latency(points: PointPair, rule: Rule) -> Finding | None:
    """Judge latency; None when the baseline was not timed, or not against other engines."""
    before, after = (_figures(side, rule.metric.name) for side in (points.before, points.after))
    if len(before) < len(points.before):
        return None
    if len(after) < len(points.after):
        return points.finding(rule, Verdict.REFUSED, "not timed")
    reason = _other_conditions(points)
    if reason:
        return points.finding(rule, Verdict.REFUSED, reason)
    return _judged(points, rule, seeds_change(before, after))


def _judged(points: PointPair, rule: Rule, change: Change) -> Finding:
    verdict, reason = judge(rule, change)
    return points.finding(rule, verdict, reason, change)


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


LAYERS_SHOWN = 3


def judge_layers(pair: Pair, rule: Rule) -> Finding | None:
    """Judge layers' MACs.

    None when the baseline has none, or its seeds differ, so that the net's shape is learnt and not given.
    """
    layers = [run.layers for run in pair.configuration.runs]
    if not layers[0] or any(one != layers[0] for one in layers):
        return None
    change = exact_change(
        {seed: sum(run.layers.values()) for seed, run in pair.before.items()},
        {seed: sum(run.layers.values()) for seed, run in pair.after.items()},
    )
    reason = next(filter(None, (changed_layers(layers[0], run.layers) for run in pair.after.values())), "")
    return pair.finding(rule, Verdict.REGRESSION if reason else Verdict.OK, reason, change)


def changed_layers(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return what changed, as `layer1.0.conv1: 36,864 MACs, in the baseline 18,432`; empty when none changed."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    shown = [
        f"{name}: {_layer_macs(after, name)}, in the baseline {_layer_macs(before, name)}"
        for name in changed[:LAYERS_SHOWN]
    ]
    more = [f"and {len(changed) - LAYERS_SHOWN} more layers"] if len(changed) > LAYERS_SHOWN else []
    return "; ".join([*shown, *more])


def _layer_macs(layers: Mapping[str, int], name: str) -> str:
    return f"{layers[name]:,} MACs" if name in layers else "none"


def judge_training(pair: Pair, rule: Rule) -> Finding:
    """Return MACs of the training, everything pre-trained included."""
    before, after = ({seed: run.train_macs for seed, run in side.items()} for side in (pair.before, pair.after))
    change = counted_change(before, after)
    return pair.finding(rule, *judge(rule, change), change)


def judge_accuracy(points: PointPair, rule: Rule) -> Finding:
    """Top-1 on the test split."""
    counts = {point.images for side in (points.before, points.after) for point in side.values()}
    if len(counts) > 1:
        reason = f"tested on {' and on '.join(map(str, sorted(counts)))} images: not the same test split"
        return points.finding(rule, Verdict.UNJUDGED, reason)
    before, after = ({seed: p.flags for seed, p in side.items()} for side in (points.before, points.after))
    return _judged(points, rule, accuracy_change(before, after))


def judge_macs(points: PointPair, rule: Rule) -> Finding:
    """Return mean MACs. Those of a static net whose shape is not learnt are exact, whatever the tolerance."""
    before, after = ({seed: p.macs for seed, p in side.items()} for side in (points.before, points.after))
    if not (points.pair.configuration.static and _is_constant(before)):
        images = min(point.images for side in (points.before, points.after) for point in side.values())
        return _judged(points, rule, macs_change(before, after, images))
    change = exact_change(*({seed: macs.mean for seed, macs in side.items()} for side in (before, after)))
    reason = _exactly(before, after) if change.differs else ""
    return points.finding(rule, judge(rule, change).verdict, reason, change)


def _is_constant(macs: Mapping[int, BaselineMacs]) -> bool:
    """Over images and over seeds."""
    return len({one.mean for one in macs.values()}) == 1 and not any(one.deviation for one in macs.values())


def _exactly(before: Mapping[int, BaselineMacs], after: Mapping[int, BaselineMacs]) -> str:
    """All digits, of the first seed that differs."""
    seed = next(seed for seed in before if before[seed].mean != after[seed].mean)
    return f"{after[seed].mean:,.12g} MACs, in the baseline {before[seed].mean:,.12g} (seed {seed})"


OF_RUNS: Mapping[str, Callable[[Pair, Rule], Finding | None]] = {
    "macs_layers": judge_layers,
    "train_macs": judge_training,
}
OF_POINTS: Mapping[str, Callable[[PointPair, Rule], Finding | None]] = {
    "macs_mean": judge_macs,
    "test_top1": judge_accuracy,
    "realised": judge_latency,
    "realised_best": judge_latency,
}
"""By the metric that they judge: each reads that figure and no other, but for latencies, which are told apart by their
names in `BaselineLatency`."""
