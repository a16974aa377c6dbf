"""The suite's cap on what one run may spend on its training: what exceeds it is refused before it starts."""

from collections.abc import Sequence
from itertools import groupby

from dynbench.errors import UserError
from dynbench.estimate.estimates import Estimates
from dynbench.plan.expand import Suite, places
from dynbench.plan.run import Run
from dynbench.suite.schema import BudgetCap


def check_budget(suite: Suite, runs: Sequence[Run], estimates: Estimates) -> None:
    """Check the suite's budget.

    Raises UserError that names every run that would exceed the suite's budget, by how much, and who asks for it.
    """
    if suite.file.budget == BudgetCap():
        return
    estimates.prepare(runs)
    over = [(run, excess) for run in runs if (excess := exceeds(run, suite.file.budget, estimates))]
    if not over:
        return
    asked = places(suite)
    lines = []
    for (label, backbone, excess), group in groupby(over, lambda one: (one[0].label, one[0].built.name, one[1])):
        found = [run for run, _ in group]
        seeds = ", ".join(str(run.seed) for run in found)
        where = suite.locator.at(asked[found[0].run_id])
        lines.append(f"{where}: {label} ({backbone}, seed {seeds}) {excess}")
    caps = dict.fromkeys(suite.locator.at(("budget", key)) for key, value in suite.file.budget if value)
    raise UserError(f"{'; '.join(lines)}; train for less, or raise the budget at {' and '.join(caps)}")


def exceeds(run: Run, cap: BudgetCap, estimates: Estimates) -> str | None:
    """Say how a run exceeds the cap, everything pre-trained included.

    None when it does not, or its plugin fails: its record will say how. Raises UserError when the method does not
    support the backbone.
    """
    if cap == BudgetCap():
        return None
    cost = estimates.of(run)
    if cost is None:
        return None
    excess = []
    if cap.epochs is not None and cost.epochs > cap.epochs:
        excess.append(f"{cost.epochs} epochs of {cap.epochs}")
    if cap.train_macs is not None and cost.train_macs > cap.train_macs:
        ratio = cost.train_macs / cap.train_macs
        excess.append(f"{cost.train_macs:.4g} MACs of training of {cap.train_macs:.4g} ({ratio:.3g} times)")
    return f"exceeds the budget: {', '.join(excess)}" if excess else None
