"""`dynbench verify`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dynbench.cli.options import FILE, device_name
from dynbench.cli.terminal import say
from dynbench.record.folder import ResultsFolder
from dynbench.record.store import read_record

if TYPE_CHECKING:
    from dynbench.evaluation.reevaluate import Verified


@click.command("verify")
@click.argument("file", type=FILE)
@click.option("--weights", type=FILE, help="Trained weights [those of the record's folder].")
@click.option("--data", type=click.Path(path_type=Path), help="Folder that holds the data set.")
@click.option("--device", default="auto", show_default=True, callback=device_name)
@click.option("--batch-size", default=500, show_default=True, type=click.IntRange(min=1))
def verify_command(file: Path, weights: Path | None, data: Path | None, device: str, batch_size: int) -> None:
    """Evaluate a finished run's trained weights again on the test split.

    FILE holds weights and their record, as `dynbench export --weights` writes it, or is a record, RUN_ID.json.

    Exit code 0: as many right answers and as many MACs as recorded, at every operating point; 1: not so.
    """
    from dynbench.evaluation.reevaluate import verify_weights
    from dynbench.record.weights_file import released_record

    if file.suffix == ".json":
        record = read_record(file)
        weights = weights or ResultsFolder.of_record(file).weights(record.run_id)
    else:
        record, weights = released_record(file), weights or file
    say(f"{record.run_id}, {weights}")
    points = verify_weights(record, weights, data, device, batch_size)
    for point in points:
        say(_line(point))
    sys.exit(0 if all(point.same for point in points) else 1)


def _line(point: "Verified") -> str:
    found = f"{point.found.point}: top-1 {point.found.top1:.2f} %, {point.found.total_macs.mean():.1f} MACs"
    if point.same:
        return f"{found}, as recorded"
    recorded = f"{point.recorded.test_top1:.2f} % and {point.recorded.macs.mean:.1f} MACs"
    return f"{found}; recorded are {recorded}: {point.images} images and {point.macs:+.1f} MACs of difference"
