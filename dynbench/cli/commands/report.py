"""`dynbench report`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dynbench.analysis.analysis import Analysis
    from dynbench.cli.console import SafeConsole
    from dynbench.record.folder import ResultsFolder


@click.command("report")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
def report_command(results: Path) -> None:
    """Make table.md and the plots of DIR again from its records alone, and print the final table."""
    from dynbench.cli.console import SafeConsole
    from dynbench.record.folder import ResultsFolder

    show_report(ResultsFolder(results), SafeConsole(), draw=True)


def show_report(results: "ResultsFolder", console: "SafeConsole", draw: bool) -> None:
    """Print the table, and where table.md and the plots are. `draw` makes those anew and prints the comparison with
    the static controls too; without it there is nothing to wait for. Raises UserError."""
    from dynbench.analysis.analysis import Analysis
    from dynbench.cli.tables import show_controls, show_latency, show_results

    found = Analysis.of(results)
    console.print(show_results(found))
    if found.latency:
        console.print(show_latency(found))
    if draw and found.comparisons:
        console.print(show_controls(found))
    for path in _write(found) if draw else results.report_files():
        console.print(path, soft_wrap=True)


def _write(found: "Analysis") -> tuple[Path, ...]:
    """Matplotlib is not loaded where nothing is drawn."""
    from dynbench.report.report_files import write_report

    return write_report(found)
