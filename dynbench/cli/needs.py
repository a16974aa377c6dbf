"""What the runs of a suite need of the machine: disk, and measured, time and memory."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dynbench.cli.terminal import say

if TYPE_CHECKING:
    from dynbench.cli.console import SafeConsole
    from dynbench.estimate.estimate import DiskNeeds
    from dynbench.estimate.throughput import Throughput
    from dynbench.plan.expand import Suite
    from dynbench.plan.run import Run


def prepare_kernels(console: "SafeConsole", device: str) -> None:
    """Load the kernels, which compiles them on the first use on a machine; on CUDA there are none."""
    from dynbench.kernels.cpu.build import is_compiled, why_not

    if device != "cpu":
        return
    if not is_compiled():
        console.print("compiling the kernels: half a minute, once on a machine")
    if reason := why_not():
        console.print(f"executors run on plain PyTorch, which is slow: {reason}", soft_wrap=True)


HEADERS = ("runs", "batch", "images/s", "training", "evaluation", "memory")


def disk_line(dataset: str, data_bytes: int, needs: "Sequence[DiskNeeds]") -> str:
    """Say what runs with such `needs` and their data set take."""
    from dynbench.analysis.words import byte_size

    kept, working = sum(one.kept for one in needs), max((one.working for one in needs), default=0)
    data = f"; {dataset} takes about {byte_size(data_bytes)}" if data_bytes else ""
    return f"Disk, still to be written: {byte_size(kept)} kept, {byte_size(working)} more while a run trains{data}."


def show_measured(console: "SafeConsole", suite: "Suite", todo: "Sequence[Run]") -> None:
    """Try the runs `todo` for a few steps and print what each of them would take.

    Those that differ in nothing but their seed are tried once.
    """
    from rich.table import Table

    from dynbench.analysis.words import duration
    from dynbench.estimate.throughput import STEPS

    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("run", overflow="fold", min_width=26)
    for header in HEADERS:
        table.add_column(header, justify="right")
    total, failed, machines = 0.0, [], dict[str, None]()
    for runs, found in _measured(suite, todo):
        if isinstance(found, str):
            failed.append(f"not measured: {_name(runs[0], suite)}: {found}")
            continue
        total += len(runs) * found.seconds
        machines[f"{found.device}, {found.threads} threads, {found.precision}"] = None
        table.add_row(_name(runs[0], suite), str(len(runs)), *_cells(found))
    if machines:
        table.title = f"Each run, from up to {STEPS} steps of each stage on {'; '.join(machines)}"
        console.print(table)
        console.print(f"Still to run: {duration(total)} of one such device. {_left_out(suite)}")
    for line in failed:
        console.print(line)


def _name(run: "Run", suite: "Suite") -> str:
    return run.label if len(suite.file.backbones) == 1 else f"{run.label}, {run.backbone.name}"


def _cells(found: "Throughput") -> tuple[str, ...]:
    from dynbench.analysis.words import byte_size, duration

    batches = dict.fromkeys(str(stage.batch) for stage in found.stages)
    rates = (f"{stage.images_per_second:,.{0 if stage.images_per_second > 99 else 1}f}" for stage in found.stages)  # noqa: PLR2004
    times = duration(found.training), duration(found.evaluation)
    return "\n".join(batches), "\n".join(rates), *times, byte_size(found.memory)


def _measured(suite: "Suite", todo: "Sequence[Run]") -> "Iterator[tuple[tuple[Run, ...], Throughput | str]]":
    """The runs of each configuration with what was measured of it; who waits is told."""
    from dynbench.device import choose_device
    from dynbench.estimate.throughput import measure_isolated
    from dynbench.plan.configuration import by_configuration

    device = choose_device(suite.file.device)
    alike = by_configuration(todo)
    for number, runs in enumerate(alike.values(), start=1):
        if sys.stderr.isatty():
            say(f"measuring {number} of {len(alike)}: {runs[0].label}", err=True)
        yield runs, measure_isolated(runs[0], suite.file.evaluation, device, suite.file.limits)


def _left_out(suite: "Suite") -> str:
    """What the estimate is from, and what it leaves out."""
    from dynbench.data import dataset_info

    files = dataset_info(suite.file.data).in_files
    decoding = "reading and decoding images, which happens beside it and may be slower, " if files else ""
    return f"An estimate from noise in place of images: without {decoding}audits and latency."
