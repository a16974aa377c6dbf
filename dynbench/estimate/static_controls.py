"""Static controls of dynamic runs: nets that spend the same on every image, of the same mean MACs and the same budget.

Every configuration of a dynamic method gets two, one run for each of its seeds: the dense backbone at a smaller width,
and the dense backbone pruned by filters. Their target is the mean over seeds of the MACs of its first operating point
on the validation split: the test split chooses nothing. A method whose operating points answer differently has a curve:
it gets two each at its cheapest and its costliest point and at one between them.

Declared choices: the budget is counted in epochs. A pruned control spends on its dense start what the method spent on
the weights that it started from, or else half of all, and on retraining, with the recipe's schedule, the rest.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from dynbench.backbones import build_backbone, stage_channels
from dynbench.cost import dense_macs
from dynbench.data import DatasetInfo, Shape, dataset_info
from dynbench.errors import UserError
from dynbench.estimate.budget_cap import exceeds
from dynbench.estimate.estimates import Estimates
from dynbench.plan.configuration import by_configuration
from dynbench.plan.expand import Suite, in_order, with_start
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record, times_the_macs
from dynbench.registry import load_method
from dynbench.suite.schema import BackboneSpec, BudgetCap

STEP = 1000
"""Widths are whole multiples of 1 / STEP."""
WIDEST = 2


def width_near(backbone: BackboneSpec, macs: float, shape: tuple[int, int, int], classes: int) -> float:
    """Return the factor of `backbone`'s width at which it comes nearest to `macs` an image of `shape`.

    Of two as near, the one that costs less.

    Channels are whole, so a range of widths is one net: its shortest decimal number is taken, in the middle of the
    range where there are several.
    """
    widths = _widths(backbone)
    nets = sorted(channels for channels in widths if min(channels) > 0)  # each at least as wide in every stage

    def cost(channels: tuple[int, ...]) -> int:
        return _macs_of(_scaled(backbone, widths[channels][0]), shape, classes)

    after = min(bisect_left(nets, macs, key=cost), len(nets) - 1)
    best = min(nets[max(0, after - 1) : after + 1], key=lambda net: abs(cost(net) - macs))
    return _shortest(widths[best]) / STEP


@cache  # of every dynamic configuration of a suite the same are asked for
def _widths(backbone: BackboneSpec) -> dict[tuple[int, ...], list[int]]:
    """Of each net that the backbone is at some width, by its channels a stage, the steps of width that give it."""
    widths: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for step in range(1, WIDEST * STEP + 1):
        widths[stage_channels(_scaled(backbone, step))].append(step)
    return dict(widths)


@cache
def _macs_of(backbone: BackboneSpec, shape: Shape, classes: int) -> int:
    return dense_macs(build_backbone(backbone, shape, classes))


def _scaled(backbone: BackboneSpec, step: int) -> BackboneSpec:
    return backbone.model_copy(update={"width": backbone.width * (step / STEP)})


def _shortest(steps: list[int]) -> int:
    """Of whole numbers in a row, the one with the most zeros at its end, nearest to their middle."""
    middle = (steps[0] + steps[-1]) / 2
    roundest = next(found for zeros in (1000, 100, 10, 1) if (found := [step for step in steps if step % zeros == 0]))
    return min(roundest, key=lambda step: abs(step - middle))


NARROW, PRUNED = "dense", "filter_pruning"
NEARLY = 0.05
"""The costliest point of a curve that costs no more than this fraction above the dense
backbone is compared with it."""
SAME = 0.005
"""A dense run of the suite whose MACs differ by no more than this fraction is the control; none is added."""


@dataclass(frozen=True)
class Controls:
    """`runs` to be added to the suite's, in order.

    `waiting`: labels of dynamic methods that are not finished at every seed; `left_out`: a line for each control that
    cannot be.
    """

    runs: tuple[Run, ...]
    waiting: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Subject:
    """A dynamic configuration at one operating point.

    Its runs, one a seed, their mean MACs an image, and its epochs, everything pre-trained included.
    """

    runs: tuple[Run, ...]
    macs: float
    epochs: int
    point: str = ""
    """The operating point that is meant, of several."""

    @property
    def run(self) -> Run:
        return self.runs[0]


class _NoControlError(Exception):
    """Why a control cannot be."""


@dataclass(frozen=True)
class _Proposal:
    """The runs of one control, with the dense runs that they start from.

    None when the suite has it, or `reason` says why it cannot be.
    """

    subject: _Subject
    name: str
    runs: tuple[Run, ...] = ()
    reason: str | None = None

    @property
    def line(self) -> str:
        """Why it is left out."""
        run = self.subject.run
        point = f", {self.subject.point}" if self.subject.point else ""
        return f"control {self.name} of {run.label}{point} ({run.built.name}): {self.reason}"


def plan_controls(
    suite: Suite,
    runs: Sequence[Run],
    records: Iterable[Record],
    estimates: Estimates,
    is_made: Callable[[str], bool] = lambda _: False,
) -> Controls:
    """Plan the controls of those dynamic `runs` of the suite that have finished `records`.

    A function of these three: planned again, they are the same runs. `is_made`: whether a control, by its run id, is
    finished, so that nobody has to build it to see that it can be built.
    """
    finished = {record.run_id: record for record in records if record.status == "finished"}
    dynamic = by_configuration(run for run in runs if not load_method(run.method).static).values()
    ready = [group for group in dynamic if all(run.run_id in finished for run in group)]
    waiting = [group[0].label for group in dynamic if not all(run.run_id in finished for run in group)]
    dense = [group[0] for group in by_configuration(run for run in runs if run.method == NARROW).values()]
    subjects = [subject for group in ready for subject in _subjects(group, finished)]
    proposed = [_proposal(suite, subject, name, dense) for subject in subjects for name in (NARROW, PRUNED)]
    if suite.file.budget != BudgetCap():
        estimates.prepare(run for one in proposed for run in one.runs)
    judged = [replace(one, reason=one.reason or _refusal(one, suite, estimates, is_made)) for one in proposed]
    planned = in_order(run for one in judged if one.reason is None for run in one.runs)
    return Controls(planned, tuple(waiting), tuple(one.line for one in judged if one.reason))


def known_controls(suite: Suite, runs: Sequence[Run], results: ResultsFolder, estimates: Estimates) -> Controls:
    """Plan what can be planned of the suite's controls from the records in a results folder.

    None unless it wants them.
    """
    if not suite.file.controls:
        return Controls((), (), ())
    return plan_controls(suite, runs, results.records_of(runs), estimates, results.is_finished)


def _subjects(runs: tuple[Run, ...], finished: Mapping[str, Record]) -> list[_Subject]:
    """The operating points that get controls."""
    records, first = [finished[run.run_id] for run in runs], runs[0]
    epochs = first.epochs + (first.start.epochs if first.start else 0)
    trades = _trades(records)
    if len(trades) == 1:
        return [_Subject(runs, macs, epochs) for macs in trades.values()]
    chosen = _along(trades)
    return [_Subject(runs, _or_dense(trades[name], records[0].macs_dense), epochs, name) for name in chosen]


def _trades(records: Sequence[Record]) -> dict[str, float]:
    """Mean MACs of each operating point that answers otherwise than those before it.

    Cost modes of one answer are one trade, whose first is shown.
    """
    trades: dict[tuple[float, ...], tuple[str, float]] = {}
    for points in zip(*(record.points for record in records), strict=True):
        macs = sum(point.val_macs for point in points) / len(points)
        trades.setdefault(tuple(point.val_top1 for point in points), (points[0].name, macs))
    return dict(trades.values())


def _along(trades: Mapping[str, float]) -> list[str]:
    """Return the cheapest and the costliest of two points or more, and one between them.

    The one between them is the first that the method names, or else the middle one.
    """
    ordered, first = sorted(trades, key=lambda name: trades[name]), next(iter(trades))
    middle = ordered[len(ordered) // 2] if first in {ordered[0], ordered[-1]} else first
    return list(dict.fromkeys((ordered[0], middle, ordered[-1])))


def _or_dense(macs: float, dense: int) -> float:
    """The dense backbone is the control at the end of a curve that costs hardly more: the price of exits, say."""
    return dense if dense < macs <= (1 + NEARLY) * dense else macs


def _proposal(suite: Suite, subject: _Subject, name: str, dense: Sequence[Run]) -> _Proposal:
    """One control of the subject; `dense`: one run of each configuration of the dense nets that the suite has."""
    info = dataset_info(subject.run.data)
    make = {NARROW: _narrow, PRUNED: _pruned}[name]
    try:
        config = load_method(name).Config.model_validate(make(subject, info))
    except _NoControlError as error:
        return _Proposal(subject, name, reason=str(error))
    found = tuple(run for one in subject.runs for run in with_start(suite, one.backbone, one.seed, config, name))
    there = name == NARROW and _has_narrow(dense, found[0], subject, info)
    return _Proposal(subject, name, () if there else found)


def _refusal(proposal: _Proposal, suite: Suite, estimates: Estimates, is_made: Callable[[str], bool]) -> str | None:
    """Why the control may not be, or cannot be built."""
    info = dataset_info(proposal.subject.run.data)
    for one in by_configuration(proposal.runs):
        try:
            reason = exceeds(one.run, suite.file.budget, estimates)
            if reason is None and not is_made(one.run.run_id):
                reason = _unsupported(one.run, info)
        except UserError as error:
            return str(error)
        if reason:
            return reason
    return None


def _has_narrow(dense: Iterable[Run], nearest: Run, subject: _Subject, info: DatasetInfo) -> bool:
    """Return whether the suite's own `dense` runs hold one of the same budget that is near enough.

    Or one as near as the `nearest`: several widths give one net.
    """
    same = [run for run in dense if run.backbone == nearest.backbone]
    nets = (run for run in (nearest, *same) if run.epochs == nearest.epochs)
    apart = [abs(times_the_macs(_macs(run.built, info), subject.macs) - 1) for run in nets]
    return min(apart[1:], default=1.0) <= max(SAME, apart[0])


def _macs(backbone: BackboneSpec, info: DatasetInfo) -> int:
    return _macs_of(backbone, info.shape, info.num_classes)


def _unsupported(run: Run, info: DatasetInfo) -> str | None:
    return run.make_method().unsupported(build_backbone(run.built, info.shape, info.num_classes))


def _narrow(subject: _Subject, info: DatasetInfo) -> dict[str, Any]:
    """Parameters of the dense backbone that costs as much as `subject`, trained as long."""
    width = width_near(subject.run.backbone, subject.macs, info.shape, info.num_classes)
    return {"width": width, "epochs": _unless(subject.epochs, subject.run.recipe.epochs)}


def _pruned(subject: _Subject, info: DatasetInfo) -> dict[str, Any]:
    """Parameters of the dense backbone that is pruned until it costs what `subject` does. Raises _NoControlError."""
    whole = _macs(subject.run.backbone, info)
    share = round(subject.macs / whole, 4)
    if share <= 0:
        raise _NoControlError("the method spends almost no MACs, and no pruned net spends so little")
    if share >= 1:
        raise _NoControlError(f"the method spends {subject.macs / whole:.1%} of the dense backbone's MACs")
    start = subject.run.start
    before = start.epochs if start else subject.epochs // 2
    rest = subject.epochs - before
    if start is not None and start.file is not None:
        origin = {"init": start.file, "init_epochs": before}
    else:
        origin = {"dense_epochs": _unless(before, subject.run.recipe.epochs)}
    if not rest or not (before or start):
        raise _NoControlError(f"{subject.epochs} epochs cannot be divided into a dense start and retraining")
    return {"macs": share, "epochs": rest, "lr": None, **origin}


def _unless(epochs: int, usual: int) -> int | None:
    """`epochs`, or None where they are the recipe's."""
    return None if epochs == usual else epochs
