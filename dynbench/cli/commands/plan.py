"""`dynbench plan`."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from dynbench.analysis.names import Names
from dynbench.analysis.words import short_macs, stage_epochs
from dynbench.cli.console import SafeConsole
from dynbench.cli.needs import disk_line, show_measured
from dynbench.cli.options import get_ready_to_estimate, read_suite, results_folder, suite_options
from dynbench.data import dataset_info
from dynbench.plan.run import Run

if TYPE_CHECKING:
    from dynbench.estimate.estimate import CostEstimate
    from dynbench.estimate.static_controls import Controls


COLUMNS = {
    "run": "left",
    "backbone": "left",
    "seed": "right",
    "MACs": "right",
    "gates": "right",
    "of dense": "right",
    "epochs": "right",
    "training": "right",
    "state": "left",
}
LABEL_WIDTH = 26
"""Of the first column, at least: parameters are unreadable in less."""


@click.command("plan")
@suite_options
@click.option("--measure", is_flag=True, help="Try each run for a few steps on this device: hours, memory.")
def plan_command(suite: Path, results: Path | None, measure: bool, **options: Any) -> None:
    """Show the runs of SUITE, what they cost, and which are finished. Trains nothing, and needs no data."""
    get_ready_to_estimate()

    from dynbench.estimate.plan import make_plan

    read = read_suite(suite, **options)
    plan = make_plan(read, results_folder(read, results))
    common, names = _common(plan.runs), Names.of(one.run for one in plan.planned)
    title = ", ".join([read.file.name, *(f"{name} {value}" for name, value in common.items())])
    table = Table(title=f"{title}: {plan.results}", box=None, pad_edge=False, title_justify="left")
    for name, justify in COLUMNS.items():
        if name not in common:
            width = LABEL_WIDTH if name == "run" else None
            table.add_column(name, justify=justify, overflow="fold", min_width=width)  # type: ignore[arg-type]
    for one in plan.planned:
        own = (value for name, value in _per_run(one.run).items() if name not in common)
        table.add_row(names.whole(one.run), *own, *_costs(plan.cost(one)), one.state + ("" if one.asked else " *"))
    to_come = plan.costs_to_come()
    console = SafeConsole(soft_wrap=not sys.stdout.isatty())
    console.print(table)
    console.print(
        "MACs: one image, everything on; gates: what a method adds to its backbone. training: estimated MACs. "
        f"Still to train: {short_macs(sum(cost.own_train_macs for cost in to_come))} MACs."
    )
    console.print(
        disk_line(read.file.data.name, dataset_info(read.file.data).disk_bytes, [cost.disk for cost in to_come])
    )
    if plan.controls.runs:
        console.print("*: a static control of the suite's dynamic runs, or the dense net that it starts from.")
    for line in unplanned_lines(plan.controls):
        console.print(line)
    if measure:
        show_measured(console, read, plan.todo)


def _per_run(run: Run) -> dict[str, str]:
    width = "" if run.backbone.width == 1 else f" x{run.backbone.width:g}"
    return {"backbone": f"{run.backbone.name}{width}", "seed": str(run.seed)}


def _common(runs: Sequence[Run]) -> dict[str, str]:
    """What all runs share is said once, above the table, and not in a column."""
    first, *others = map(_per_run, runs)
    return {name: value for name, value in first.items() if all(other[name] == value for other in others)}


def unplanned_lines(controls: "Controls") -> Iterator[str]:
    """Yield what of the suite's controls is not planned, and why."""
    if controls.waiting:
        yield f"controls are planned when these have finished: {', '.join(dict.fromkeys(controls.waiting))}"
    yield from (f"left out: {line}" for line in controls.left_out)


def _costs(cost: "CostEstimate | None") -> tuple[str, ...]:
    if cost is None:
        return ("fails", "", "", "", "")
    training = short_macs(cost.own_train_macs)
    if cost.pretrained:
        training = f"{short_macs(cost.pretrained_train_macs)} + {training}"
    return (
        short_macs(cost.macs),
        short_macs(cost.macs_control),
        f"{cost.macs / cost.macs_dense:.1%}",
        stage_epochs(cost),
        training,
    )
