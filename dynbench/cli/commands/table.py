"""`dynbench table`."""

from pathlib import Path

import click

from dynbench.analysis.analysis import Analysis
from dynbench.cli.terminal import say
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from dynbench.report.headline import headline, replace_tables
from dynbench.report.latex import latex_report


@click.command("table")
@click.argument("results", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["markdown", "latex"]), default="markdown", help="Of what is printed."
)
@click.option("--into", type=click.Path(path_type=Path), help="Markdown file whose marked tables are made again.")
def table_command(results: Path | None, form: str, into: Path | None) -> None:
    """Print a Markdown table of the records in DIR.

    Results, what papers quote beside them, on what it was made, and which of the papers' claims hold. With --into FILE,
    rewrite every part of FILE between the lines `<!-- dynbench table DIR -->` and `<!-- /dynbench table -->`; DIR is
    relative to FILE's folder. With --format latex, print the results alone, as LaTeX tables of its package booktabs.
    """
    if into is not None and form != "markdown":
        raise UserError("--into rewrites Markdown files: leave out --format")
    if (results is None) == (into is None):
        raise UserError("give either a results folder, to print its table, or --into FILE, to rewrite the tables in it")
    if results is not None:
        say(_table(results) if form == "markdown" else _latex(results), nl=False)
    elif into is not None:
        for folder in replace_tables(into, _table):
            say(f"{into}: {folder}")


def _table(results: Path) -> str:
    return headline(Analysis.of(ResultsFolder(results)))


def _latex(results: Path) -> str:
    return latex_report(Analysis.of(ResultsFolder(results)))
