"""`dynbench report`."""

from pathlib import Path

import click

from dynbench.analysis.analysis import Analysis
from dynbench.cli.console import SafeConsole
from dynbench.cli.tables import show_brief, show_controls, show_latency, show_results
from dynbench.record.folder import ResultsFolder


@click.command("report")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Print every table: budgets, latencies, controls.")
def report_command(results: Path, full: bool) -> None:
    """Make report.html, table.md and the plots of DIR again from its records alone, and print the final table."""
    show_report(ResultsFolder(results), SafeConsole(), draw=True, full=full)


def show_report(results: ResultsFolder, console: SafeConsole, draw: bool, full: bool = False) -> None:
    """Print a line for each configuration, a sentence for each dynamic method, and where the rest is.

    `draw` makes that again: report.html, table.md and the plots; matplotlib is not loaded without it. `full`: print
    every table. Raises UserError.
    """
    found = Analysis.of(results)
    if full:
        _show_all(found, console)
    else:
        console.print(show_brief(found))
    if draw:
        from dynbench.report.report_files import write_report

        write_report(found)
    rest = f"Everything else: {results.page}; as text and pictures: {results.table} and {results.plots}"
    console.print(f"\n{rest}", soft_wrap=True)


def _show_all(found: Analysis, console: SafeConsole) -> None:
    """Print the tables of table.md."""
    console.print(show_results(found))
    if found.latency:
        console.print(show_latency(found))
    if found.comparisons:
        console.print(show_controls(found))
