"""`dynbench plan`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dynbench.cli.suite_options import read_suite, results_folder, suite_options
from dynbench.errors import UserError
from dynbench.plan import Run, plan

if TYPE_CHECKING:
    from dynbench.estimate import Estimate

COLUMNS = {
    "run": "left",
    "backbone": "left",
    "seed": "right",
    "MACs": "right",
    "of dense": "right",
    "epochs": "right",
    "training": "right",
    "state": "left",
}


@click.command("plan")
@suite_options
def command(suite: Path, results: Path | None, **options: Any) -> None:
    """Show the runs of SUITE, what they cost, and which are finished. Trains nothing."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from dynbench.cli.units import macs  # noqa: PLC0415
    from dynbench.suite_run import unfinished  # noqa: PLC0415

    read = read_suite(suite, **options)
    folder = results_folder(read, results)
    runs = plan(read)
    todo = {run.run_id for run in unfinished(runs, folder)}
    table = Table(title=f"{read.file.name}: {folder}", box=None, pad_edge=False, title_justify="left")
    for name, justify in COLUMNS.items():
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    total = 0
    for run in runs:
        cost = _estimate(run)
        total += cost.train_macs if cost and run.run_id in todo else 0
        state = _state(folder, run) if run.run_id in todo else "finished"
        table.add_row(run.label, f"{run.built.name} x{run.built.width:g}", str(run.seed), *_costs(cost), state)
    console = Console(soft_wrap=not sys.stdout.isatty(), markup=False, highlight=False)
    console.print(table)
    console.print(f"MACs: one image, everything on. training: estimated MACs. Still to train: {macs(total)}MACs.")


def _state(folder: Path, run: Run) -> str:
    """Of a run that is to be done: a failed one is tried again."""
    from dynbench.record import find_record  # noqa: PLC0415

    record = find_record(folder, run.run_id)
    return "failed" if record and record.status == "failed" else "to do"


def _estimate(run: Run) -> "Estimate | None":
    """None when the plugin fails: it costs its own run only."""
    from dynbench.estimate import estimate  # noqa: PLC0415

    try:
        return estimate(run)
    except UserError:
        raise
    except Exception:
        return None


def _costs(cost: "Estimate | None") -> tuple[str, str, str, str]:
    from dynbench.cli.units import macs  # noqa: PLC0415

    if cost is None:
        return ("fails", "", "", "")
    epochs = f"{cost.pretrained_epochs} + {cost.epochs}" if cost.pretrained_epochs else str(cost.epochs)
    return macs(cost.macs), f"{cost.macs / cost.macs_dense:.1%}", epochs, macs(cost.train_macs)
