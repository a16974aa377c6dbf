"""`dynbench time`."""

import shlex
import sys
from pathlib import Path

import click

from dynbench.analysis.analysis import Analysis
from dynbench.cli.console import SafeConsole
from dynbench.cli.needs import prepare_kernels
from dynbench.cli.tables import show_latency
from dynbench.errors import UserError, did_you_mean
from dynbench.latency.timer import Timer, time_record
from dynbench.record.folder import ResultsFolder
from dynbench.suite.engines import ENGINES
from dynbench.suite.schema import LatencyProtocol

ALL, NONE = "all", "none"


def _sizes(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter("expected comma-separated whole numbers, as 1,8,32") from error
    if min(sizes) < 1:
        raise click.BadParameter("a batch has at least one image")
    return sizes


def _engines(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:

    known = tuple(ENGINES)
    if text in (ALL, NONE):
        return known if text == ALL else ()
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in known:
            raise click.BadParameter(f'unknown engine "{name}"; {did_you_mean(name, (*known, ALL, NONE))}')
    return tuple(dict.fromkeys(names))


@click.command("time")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder that holds the data set.")
@click.option("--device", default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of PyTorch and of the engines [PyTorch's choice].")
@click.option("--images", default=128, show_default=True, type=click.IntRange(min=1), help="Images of one pass.")
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(min=1), help="Passes over the images.")
@click.option("--batches", default="1,8,32,128", show_default=True, callback=_sizes, help="Batch sizes.")
@click.option(
    "--engines",
    default=ALL,
    show_default=True,
    callback=_engines,
    help=f"Static engines for the dense backbone: {', '.join(ENGINES)}, all or none.",
)
def time_command(
    results: Path,
    data: Path | None,
    device: str,
    threads: int | None,
    images: int,
    rounds: int,
    batches: tuple[int, ...],
    engines: tuple[str, ...],
) -> None:
    """Time the finished runs of DIR on this machine: executors against the dense backbone, also on static engines.

    Trains nothing. Whatever else the machine does meanwhile is in the figures.
    """
    from dynbench.device import choose_device

    folder = ResultsFolder(results)
    records = [record for record in folder.records() if record.status == "finished"]
    chosen = str(choose_device(device))
    if not records:
        raise UserError(f"no finished runs in {results}")
    protocol = LatencyProtocol.model_validate(
        {"images": images, "rounds": rounds, "batches": batches, "threads": threads, "engines": engines}
    )
    timer = Timer(folder, protocol, chosen, data, shlex.join(["dynbench", *sys.argv[1:]]))
    console = SafeConsole()
    prepare_kernels(console, chosen)
    timed = []
    for record in records:
        console.print(f"timing {record.run_id}")
        timed.append(time_record(record, folder, timer))
    console.print(show_latency(Analysis.of(folder, timed)))
