"""What each layer costs whole: no training changes it, so that a formula that is wrong for one layer is named by it."""

from collections.abc import Mapping

from dynbench.check.changes import exact_change
from dynbench.check.outcome import Finding
from dynbench.check.pair import Pair
from dynbench.check.rules import Rule
from dynbench.check.verdict import Verdict

SHOWN = 3


def judge_layers(pair: Pair, rule: Rule) -> Finding | None:
    """None: the baseline has none, or its seeds differ, so that the net's shape is learnt and not given."""
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
    """`layer1.0.conv1: 36,864 MACs, in the baseline 18,432`; empty when none changed."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    shown = [f"{name}: {_macs(after, name)}, in the baseline {_macs(before, name)}" for name in changed[:SHOWN]]
    more = [f"and {len(changed) - SHOWN} more layers"] if len(changed) > SHOWN else []
    return "; ".join([*shown, *more])


def _macs(layers: Mapping[str, int], name: str) -> str:
    return f"{layers[name]:,} MACs" if name in layers else "none"
