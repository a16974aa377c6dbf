"""For each metric, who compares it."""

from collections.abc import Callable, Mapping

from dynbench.check.baseline import BaselineMacs
from dynbench.check.changes import accuracy_change, exact_change, macs_change, seeds_change
from dynbench.check.latency import judge_latency
from dynbench.check.layers import judge_layers
from dynbench.check.outcome import Finding
from dynbench.check.pair import Pair, PointPair
from dynbench.check.rules import Rule
from dynbench.check.verdict import Verdict


def judge_training(pair: Pair, rule: Rule) -> Finding:
    """MACs of the training, everything pre-trained included."""
    before, after = ({seed: run.train_macs for seed, run in side.items()} for side in (pair.before, pair.after))
    change = seeds_change(before, after)
    return pair.finding(rule, rule.judge(change), change=change)


def judge_accuracy(points: PointPair, rule: Rule) -> Finding:
    """Top-1 on the test split."""
    counts = {point.images for side in (points.before, points.after) for point in side.values()}
    if len(counts) > 1:
        reason = f"tested on {' and on '.join(map(str, sorted(counts)))} images: not the same test split"
        return points.finding(rule, Verdict.UNJUDGED, reason)
    before, after = ({seed: p.flags for seed, p in side.items()} for side in (points.before, points.after))
    return points.judged(rule, accuracy_change(before, after))


def judge_macs(points: PointPair, rule: Rule) -> Finding:
    """Mean MACs. Those of a static net whose shape is not learnt are exact, whatever the tolerance."""
    before, after = ({seed: p.macs for seed, p in side.items()} for side in (points.before, points.after))
    if not (points.pair.configuration.static and _is_constant(before)):
        images = min(point.images for side in (points.before, points.after) for point in side.values())
        return points.judged(rule, macs_change(before, after, images))
    change = exact_change(*({seed: macs.mean for seed, macs in side.items()} for side in (before, after)))
    return points.finding(rule, rule.judge(change), _exactly(before, after) if change.differs else "", change)


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
