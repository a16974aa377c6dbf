"""`dynbench check`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dynbench.cli.rule_options import chosen_rules, rule_options
from dynbench.errors import UserError

if TYPE_CHECKING:
    from dynbench.check.outcome import Outcome


@click.command("check")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--baseline", required=True, type=click.Path(path_type=Path), help="Made by `dynbench baseline`.")
@rule_options
@click.option("--junit", type=click.Path(path_type=Path), help="Also write JUnit XML to this file.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write a Markdown summary to this file.")
def command(
    results: Path,
    baseline: Path,
    suite: Path | None,
    rules: tuple[str, ...],
    junit: Path | None,
    markdown: Path | None,
) -> None:
    """Compare the records in DIR with a baseline: no accuracy lost, no MACs gained, nothing missing.

    Rules are the baseline's, overridden by those of --suite and --rule. Exit code 0; 1 when something is worse,
    missing, failed or unaudited; 2 when it could not be judged.
    """
    from rich.console import Console  # noqa: PLC0415

    from dynbench.check.junit import junit_xml  # noqa: PLC0415
    from dynbench.check.markdown import markdown_summary  # noqa: PLC0415
    from dynbench.cli.check_table import check_lines  # noqa: PLC0415
    from dynbench.files import write_atomically  # noqa: PLC0415

    outcome = _outcome(results, baseline, suite, rules)
    if junit:
        write_atomically(junit, junit_xml(outcome))
    if markdown:
        write_atomically(markdown, markdown_summary(outcome).encode())
    if outcome.problem is not None:
        raise UserError(outcome.problem)
    console = Console(highlight=False)
    for line in check_lines(outcome):
        console.print(line)
    sys.exit(outcome.exit_code)


def _outcome(results: Path, baseline: Path, suite: Path | None, rules: Sequence[str]) -> "Outcome":
    """What cannot be compared at all is an outcome too: the files that CI waits for say so."""
    from dynbench.check.baseline import read_baseline  # noqa: PLC0415
    from dynbench.check.compare import check  # noqa: PLC0415
    from dynbench.check.outcome import Outcome  # noqa: PLC0415
    from dynbench.check.rules import parse_rules  # noqa: PLC0415
    from dynbench.record import read_records  # noqa: PLC0415

    try:
        before = read_baseline(baseline)
        chosen = parse_rules(chosen_rules(before.rules.given, suite, rules))
        return check(results, read_records(results), before, chosen)
    except UserError as error:
        return Outcome(problem=str(error))
