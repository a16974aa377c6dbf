"""`dynbench report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from dynbench.record import Record


@click.command("report")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
def command(results: Path) -> None:
    """Make table.md and the plots of DIR again from its records alone, and print the final table."""
    from rich.console import Console  # noqa: PLC0415

    show_report(results, Console(highlight=False), draw=True)


def show_report(results: Path, console: "Console", draw: bool) -> None:
    """Print the table, and where table.md and the plots are. `draw` makes those anew and prints the comparison with
    the static controls too; without it there is nothing to wait for. Raises UserError."""
    from dynbench.cli.results_table import final_table, latency_table  # noqa: PLC0415
    from dynbench.record import read_records  # noqa: PLC0415
    from dynbench.report.files import report_files  # noqa: PLC0415

    records = read_records(results)
    console.print(final_table(records))
    if any(point.latency for record in records for point in record.points):
        console.print(latency_table(records))
    for path in _draw(results, records, console) if draw else report_files(results):
        console.print(path, soft_wrap=True, highlight=False)


def _draw(results: Path, records: Sequence["Record"], console: "Console") -> tuple[Path, ...]:
    from dynbench.cli.results_table import control_table  # noqa: PLC0415
    from dynbench.report.control import compare_with_controls  # noqa: PLC0415
    from dynbench.report.write import write_report  # noqa: PLC0415  (imports matplotlib and scipy)

    comparisons = compare_with_controls(results, records)
    if comparisons:
        console.print(control_table(comparisons))
    return write_report(results, records, comparisons)
