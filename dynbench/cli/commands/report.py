"""`dynbench report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from dynbench.record.folder import ResultsFolder
    from dynbench.record.schema import Record


@click.command("report")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
def report_command(results: Path) -> None:
    """Make table.md and the plots of DIR again from its records alone, and print the final table."""
    from rich.console import Console

    from dynbench.record.folder import ResultsFolder

    show_report(ResultsFolder(results), Console(highlight=False), draw=True)


def show_report(results: "ResultsFolder", console: "Console", draw: bool) -> None:
    """Print the table, and where table.md and the plots are. `draw` makes those anew and prints the comparison with
    the static controls too; without it there is nothing to wait for. Raises UserError."""
    from dynbench.cli.tables import final_table, latency_table

    records = results.records()
    console.print(final_table(records))
    if any(point.latency for record in records for point in record.points):
        console.print(latency_table(records))
    for path in _draw(results, records, console) if draw else results.report_files():
        console.print(path, soft_wrap=True, highlight=False)


def _draw(results: "ResultsFolder", records: Sequence["Record"], console: "Console") -> tuple[Path, ...]:
    from dynbench.analysis.controls import compare_with_controls
    from dynbench.cli.tables import control_table
    from dynbench.report.write import write_report

    comparisons = compare_with_controls(results, records)
    if comparisons:
        console.print(control_table(comparisons))
    return write_report(results, records, comparisons)
