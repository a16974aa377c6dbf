"""Static controls of dynamic runs: nets that spend the same on every image, of the same mean MACs and the same budget.

Every configuration of a dynamic method gets two, one run for each of its seeds: the dense backbone at a smaller width,
and the dense backbone pruned by filters. Their target is the mean over seeds of the MACs of its first operating point
on the validation split: the test split chooses nothing.

Declared choices: the budget is counted in epochs. A pruned control spends on its dense start what the method spent on
the weights that it started from, or else half of all, and on retraining, with the recipe's schedule, the rest.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynbench.backbones import build_backbone, stage_channels
from dynbench.cost import dense_macs
from dynbench.data import DatasetInfo, dataset_info
from dynbench.errors import UserError
from dynbench.estimate.budget_cap import exceeds
from dynbench.plan.expand import Suite, in_order, with_start
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.registry import load_method
from dynbench.suite.schema import BackboneSpec

STEP = 1000
"""Widths are whole multiples of 1 / STEP."""
WIDEST = 2


def width_near(backbone: BackboneSpec, macs: float, shape: tuple[int, int, int], classes: int) -> float:
    """The factor of `backbone`'s width at which it comes nearest to `macs` an image of `shape`, and costs less rather
    than more of two as near.

    Channels are whole, so a range of widths is one net: its shortest decimal number is taken, in the middle of the
    range where there are several.
    """
    widths: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for step in range(1, WIDEST * STEP + 1):
        widths[stage_channels(_scaled(backbone, step))].append(step)
    nets = sorted(channels for channels in widths if min(channels) > 0)  # each at least as wide in every stage

    def cost(channels: tuple[int, ...]) -> int:
        return dense_macs(build_backbone(_scaled(backbone, widths[channels][0]), shape, classes))

    after = min(bisect_left(nets, macs, key=cost), len(nets) - 1)
    best = min(nets[max(0, after - 1) : after + 1], key=lambda net: abs(cost(net) - macs))
    return _shortest(widths[best]) / STEP


def _scaled(backbone: BackboneSpec, step: int) -> BackboneSpec:
    return backbone.model_copy(update={"width": backbone.width * (step / STEP)})


def _shortest(steps: list[int]) -> int:
    """Of whole numbers in a row, the one with the most zeros at its end, nearest to their middle."""
    middle = (steps[0] + steps[-1]) / 2
    roundest = next(found for zeros in (1000, 100, 10, 1) if (found := [step for step in steps if step % zeros == 0]))
    return min(roundest, key=lambda step: abs(step - middle))


NARROW, PRUNED = "dense", "filter_pruning"
SAME = 0.005
"""A dense run of the suite whose MACs differ by no more than this fraction is the control; none is added."""


@dataclass(frozen=True)
class Controls:
    """`runs` to be added to the suite's, in order; `waiting`: labels of dynamic methods that are not finished at every
    seed; `left_out`: a line for each control that cannot be."""

    runs: tuple[Run, ...]
    waiting: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Subject:
    """A dynamic configuration: its runs, one a seed, their mean MACs an image, and its epochs, everything pre-trained
    included."""

    runs: tuple[Run, ...]
    macs: float
    epochs: int

    @property
    def run(self) -> Run:
        return self.runs[0]


class _NoControlError(Exception):
    """Why a control cannot be."""


def plan_controls(suite: Suite, runs: Sequence[Run], records: Iterable[Record]) -> Controls:
    """The controls of those dynamic `runs` of the suite that have finished `records`. A function of its arguments:
    planned again, they are the same runs."""
    finished = {record.run_id: record for record in records if record.status == "finished"}
    planned: list[Run] = []
    waiting, left_out = [], []
    for group in _configurations(run for run in runs if not load_method(run.method).static):
        if not all(run.run_id in finished for run in group):
            waiting.append(group[0].label)
            continue
        subject = _subject(group, finished)
        for name in (NARROW, PRUNED):
            try:
                planned += _controls(suite, subject, name, runs)
            except _NoControlError as reason:
                left_out.append(f"control {name} of {group[0].label} ({group[0].built.name}): {reason}")
    return Controls(in_order(planned), tuple(waiting), tuple(left_out))


def known_controls(suite: Suite, runs: Sequence[Run], results: ResultsFolder) -> Controls:
    """What can be planned of the suite's controls from the records in a results folder; none unless it wants them."""
    if not suite.file.controls:
        return Controls((), (), ())
    found = (results.read(run.run_id) for run in runs)
    return plan_controls(suite, runs, [record for record in found if record is not None])


def _configurations(runs: Iterable[Run]) -> list[tuple[Run, ...]]:
    """Runs that differ in nothing but their seed, together."""
    groups: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[f"{run.backbone.model_dump_json()} {run.method} {run.given}"].append(run)
    return [tuple(group) for group in groups.values()]


def _subject(runs: tuple[Run, ...], finished: Mapping[str, Record]) -> _Subject:
    macs = [finished[run.run_id].points[0].val_macs for run in runs]
    first = runs[0]
    return _Subject(runs, sum(macs) / len(macs), first.epochs + (first.start.epochs if first.start else 0))


def _controls(suite: Suite, subject: _Subject, name: str, runs: Sequence[Run]) -> list[Run]:
    """The runs of one control, with the dense runs that they start from; none when the suite has it. Raises
    _NoControlError."""
    info = dataset_info(subject.run.data)
    make = {NARROW: _narrow, PRUNED: _pruned}[name]
    config = load_method(name).Config.model_validate(make(subject, info))
    found = [run for one in subject.runs for run in with_start(suite, one.backbone, one.seed, config, name)]
    if name == NARROW and _has_narrow(runs, found[0], subject, info):
        return []
    for run in found:
        try:
            excess = exceeds(run, suite.file) or _unsupported(run, info)
        except UserError as error:
            raise _NoControlError(str(error)) from error
        if excess:
            raise _NoControlError(excess)
    return found


def _has_narrow(runs: Iterable[Run], nearest: Run, subject: _Subject, info: DatasetInfo) -> bool:
    """Whether the suite's own runs hold a dense net of the same budget that is near enough, or as near as the
    `nearest`: several widths give one net."""
    same = [run for run in runs if (run.method, run.backbone) == (NARROW, nearest.backbone)]
    apart = [abs(_macs(run, info) / subject.macs - 1) for run in (nearest, *same) if run.epochs == nearest.epochs]
    return min(apart[1:], default=1.0) <= max(SAME, apart[0])


def _macs(run: Run, info: DatasetInfo) -> int:
    return dense_macs(build_backbone(run.built, info.shape, info.num_classes))


def _unsupported(run: Run, info: DatasetInfo) -> str | None:
    return run.make_method().unsupported(build_backbone(run.built, info.shape, info.num_classes))


def _narrow(subject: _Subject, info: DatasetInfo) -> dict[str, Any]:
    """Parameters of the dense backbone that is as wide as `subject` is dear, trained as long."""
    width = width_near(subject.run.backbone, subject.macs, info.shape, info.num_classes)
    return {"width": width, "epochs": _unless(subject.epochs, subject.run.recipe.epochs)}


def _pruned(subject: _Subject, info: DatasetInfo) -> dict[str, Any]:
    """Parameters of the dense backbone that is pruned until it costs what `subject` does. Raises _NoControlError."""
    whole = dense_macs(build_backbone(subject.run.backbone, info.shape, info.num_classes))
    share = round(subject.macs / whole, 4)
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
