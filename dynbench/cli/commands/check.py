"""`dynbench check`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from dynbench.check.baseline import read_baseline
from dynbench.check.check_records import check
from dynbench.check.for_ci import junit_xml, markdown_summary
from dynbench.check.outcome import CheckResult
from dynbench.cli.console import SafeConsole
from dynbench.cli.options import chosen_rules, rule_options
from dynbench.cli.tables import check_lines
from dynbench.errors import UserError
from dynbench.files import write_atomically
from dynbench.record.folder import ResultsFolder
from dynbench.suite.rules import parse_rules


@click.command("check")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--baseline", required=True, type=click.Path(path_type=Path), help="Made by `dynbench baseline`.")
@rule_options
@click.option("--junit", type=click.Path(path_type=Path), help="Also write JUnit XML to this file.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write a Markdown summary to this file.")
def check_command(
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
    outcome = _outcome(results, baseline, suite, rules)
    if junit:
        write_atomically(junit, junit_xml(outcome))
    if markdown:
        write_atomically(markdown, markdown_summary(outcome).encode())
    if outcome.problem is not None:
        raise UserError(outcome.problem)
    console = SafeConsole()
    for line in check_lines(outcome):
        console.print(line)
    sys.exit(outcome.exit_code)


def _outcome(results: Path, baseline: Path, suite: Path | None, rules: Sequence[str]) -> CheckResult:
    """What cannot be compared at all is an outcome too: the files that CI waits for say so."""
    try:
        before = read_baseline(baseline)
        chosen = parse_rules(chosen_rules(before.rules.given, suite, rules))
        folder = ResultsFolder(results)
        return check(folder, folder.records(), before, chosen)
    except UserError as error:
        return CheckResult(problem=str(error))
