"""`dynbench run`."""

import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click

from dynbench.cli.suite_options import read_suite, results_folder, suite_options
from dynbench.errors import UserError
from dynbench.plan import plan


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


@click.command("run")
@suite_options
def command(suite: Path, results: Path | None, **options: Any) -> None:
    """Train and evaluate what SUITE asks for and has not been done; then print the table and draw the plots.

    An interrupted run goes on from its last epoch when the same command is given again.
    """
    read = read_suite(suite, **options)
    folder = results_folder(read, results)
    runs = plan(read)
    _check_writable(folder)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        failed = _run(read, runs, folder)
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from the last finished epoch", err=True)
        sys.exit(130)
    sys.exit(1 if failed else 0)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write to the results folder {folder}: {error.strerror or error}") from error


def _command_line() -> str:
    return shlex.join(["dynbench", *sys.argv[1:]])


def _run(read: Any, runs: Any, folder: Path) -> bool:
    from dynbench.context import Context  # noqa: PLC0415
    from dynbench.device import choose_device  # noqa: PLC0415
    from dynbench.events import Observer  # noqa: PLC0415
    from dynbench.machine import commit  # noqa: PLC0415
    from dynbench.suite_run import SuiteRunner  # noqa: PLC0415

    class Plain(Observer):
        def run_started(self, run): print("run", run.run_id, run.label, flush=True)
        def epoch_finished(self, run, history):
            h = history[-1]; print(h.epoch + 1, f"{h.seconds:.1f}s loss {h.loss:.3f} val {h.val_top1} macs {h.val_macs}", flush=True)
        def run_finished(self, record):
            for p in record.points: print("  ", p.name, p.val_top1, p.test_top1, p.macs.mean / record.macs_dense, record.error, flush=True)
            return record

    context = Context(folder, choose_device(read.file.device), read.file.data.root, read.file.evaluation, Plain(), _command_line(), commit())
    records = SuiteRunner(runs, context).run()
    return any(record.status == "failed" for record in records)
