"""`dynbench time`."""

import shlex
import sys
from pathlib import Path

import click

from dynbench.errors import UserError


def _sizes(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:  # noqa: ARG001
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter("expected comma-separated whole numbers, as 1,8,32") from error
    if min(sizes) < 1:
        raise click.BadParameter("a batch has at least one image")
    return sizes


@click.command("time")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder that holds the data set.")
@click.option("--device", default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of PyTorch [its own choice].")
@click.option("--images", default=128, show_default=True, type=click.IntRange(min=1), help="Images of one pass.")
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(min=1), help="Passes over the images.")
@click.option("--batches", default="1,8,32,128", show_default=True, callback=_sizes, help="Batch sizes.")
def command(
    results: Path,
    data: Path | None,
    device: str,
    threads: int | None,
    images: int,
    rounds: int,
    batches: tuple[int, ...],
) -> None:
    """Time the finished runs of DIR on this machine: executors against the dense backbone. Trains nothing."""
    from rich.console import Console  # noqa: PLC0415

    from dynbench.cli.table import latency_table  # noqa: PLC0415
    from dynbench.device import choose_device  # noqa: PLC0415
    from dynbench.latency.measure import time_record  # noqa: PLC0415
    from dynbench.latency.request import Request  # noqa: PLC0415
    from dynbench.record import read_records  # noqa: PLC0415

    records = [record for record in read_records(results) if record.status == "finished"]
    chosen = str(choose_device(device))
    if not records:
        raise UserError(f"no finished runs in {results}")
    console = Console(highlight=False)
    timed = []
    for record in records:
        console.print(f"timing {record.run_id}", markup=False)
        request = Request(
            results=results,
            run_id=record.run_id,
            data_root=data,
            device=chosen,
            threads=threads,
            images=images,
            rounds=rounds,
            batches=batches,
            command=shlex.join(["dynbench", *sys.argv[1:]]),
        )
        timed.append(time_record(record, request))
    console.print(latency_table(timed))
