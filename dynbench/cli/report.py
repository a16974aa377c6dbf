"""`dynbench report`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console


@click.command("report")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
def command(results: Path) -> None:
    """Make table.md and the plots of DIR again from its records alone, and print the final table."""
    from rich.console import Console  # noqa: PLC0415

    show_report(results, Console(highlight=False), draw=True)


def show_report(results: Path, console: "Console", draw: bool) -> None:
    """Print the tables, and where table.md and the plots are; `draw` makes those anew. Raises UserError."""
    from dynbench.cli.table import control_table, final_table  # noqa: PLC0415  (imports scipy and matplotlib)
    from dynbench.record import read_records  # noqa: PLC0415
    from dynbench.report.control import compare_with_controls  # noqa: PLC0415
    from dynbench.report.write import report_files, write_report  # noqa: PLC0415

    records = read_records(results)
    comparisons = compare_with_controls(results, records)
    paths = write_report(results, records, comparisons) if draw else report_files(results)
    console.print(final_table(records))
    if comparisons:
        console.print(control_table(comparisons))
    for path in paths:
        console.print(path, soft_wrap=True, highlight=False)
