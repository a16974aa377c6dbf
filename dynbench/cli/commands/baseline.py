"""`dynbench baseline`."""

import shlex
import sys
from pathlib import Path

import click

from dynbench.check.baseline import write_baseline
from dynbench.check.make import make_baseline
from dynbench.cli.options import chosen_rules, rule_options
from dynbench.cli.terminal import say
from dynbench.record.folder import ResultsFolder
from dynbench.suite.rules import DEFAULT_RULES, parse_rules
from dynbench.suite.schema import CheckRules


@click.command("baseline")
@click.argument("results", metavar="DIR", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write.")
@rule_options
@click.option("--allow-simulated", is_flag=True, help="Include runs without an executor, which no audit has checked.")
def baseline_command(
    results: Path, output: Path, suite: Path | None, rules: tuple[str, ...], allow_simulated: bool
) -> None:
    """Write a baseline of the records in DIR, for `dynbench check`. It holds everything that a check needs.

    Rules are those of --suite and --rule, and without either: macs_layers=0, macs_mean=0, test_top1=-0.5pt,
    realised=-10%.
    """
    texts = chosen_rules({}, suite, rules) or DEFAULT_RULES
    parsed = CheckRules(**{rule.metric.name: str(rule) for rule in parse_rules(texts)})
    command_line = shlex.join(["dynbench", *sys.argv[1:]])
    folder = ResultsFolder(results)
    made = make_baseline(folder, folder.records(), parsed, command_line, allow_simulated)
    write_baseline(output, made)
    runs = sum(len(configuration.runs) for configuration in made.configurations)
    say(f"{output}: {runs} runs of {len(made.configurations)} configurations, rules {_listed(made.rules.given)}")


def _listed(rules: dict[str, str]) -> str:
    return ", ".join(f"{name}: {text}" for name, text in rules.items())
