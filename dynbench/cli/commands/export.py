"""`dynbench export`."""

from pathlib import Path

import click

from dynbench import load
from dynbench.analysis.export_formats import FORMATS
from dynbench.cli.terminal import say
from dynbench.errors import UserError, did_you_mean
from dynbench.files import write_atomically
from dynbench.record.folder import ResultsFolder


@click.command("export")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "to", type=click.Choice(tuple(FORMATS)), default="csv", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write [standard output].")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Folder for the trained weights, in the table's place."
)
@click.option(
    "--run", "only", multiple=True, metavar="RUN_ID", help="With --weights: only of this run; may be repeated."
)
def export_command(results: Path, to: str, output: Path | None, weights: Path | None, only: tuple[str, ...]) -> None:
    """Write the flat table of the records in DIR: one row per run and operating point.

    With --weights FOLDER, write each finished run's trained weights, RUN_ID.safetensors, which hold their record and
    are at most 50 MB; `dynbench verify` evaluates such a file again.
    """
    if weights is not None:
        _release(results, weights, only)
        return
    if output is None and not FORMATS[to].text:
        raise UserError(f"{to} is not text; say where it goes with -o FILE")

    content = FORMATS[to].encode(load(results))
    if output is None:
        say(content.decode(), nl=False)
    else:
        write_atomically(output, content)


def _release(results: Path, folder: Path, only: tuple[str, ...]) -> None:
    from dynbench.record.weights_file import release

    of = ResultsFolder(results)
    finished = {record.run_id: record for record in of.records() if record.status == "finished"}
    for run_id in only:
        if run_id not in finished:
            raise UserError(f'no finished run "{run_id}" in {results}; {did_you_mean(run_id, finished)}')
    for run_id in only or finished:
        say(str(release(of, finished[run_id], folder)))
