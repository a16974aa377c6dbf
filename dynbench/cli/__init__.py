"""The command line. Only this package prints and exits; torch and mlflow are imported when a command needs them."""

import sys
from typing import Any

import click

from dynbench.cli.groups import LazyGroup
from dynbench.errors import UserError

COMMANDS: dict[str, str] = {
    "run": "Train and evaluate what a suite asks for and has not been done.",
    "plan": "Show a suite's runs, their MACs, and which are finished.",
    "time": "Time finished runs on this machine, without training.",
    "report": "Make table and plots again from records alone.",
    "table": "Markdown table of records for a README, with quoted figures.",
    "baseline": "Write what later results are checked against.",
    "check": "Compare results with a baseline; exit code 1: worse.",
    "export": "Write the flat table of a results folder, or its trained weights.",
    "sync": "Send records to MLflow that it does not have yet.",
    "evaluate": "Evaluate backbone weights from a file.",
    "verify": "Evaluate a finished run's weights again: as recorded?",
    "sensitivity": "Prune one layer at a time and evaluate: which layers bear it.",
    "test": "Try a method: does it keep what every method has to keep?",
    "new": "Write a small package to start a method of your own from.",
    "methods": "List the registered methods and their parameters.",
}


@click.group(
    cls=LazyGroup,
    commands_in="dynbench.cli.commands",
    help_lines=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="dynbench")
def cli() -> None:
    """The benchmark harness for dynamic inference: MACs, accuracy and latency as executed."""


def main(arguments: list[str] | None = None) -> Any:
    """Entry point. Exit code 0; 1 when runs failed; 2 for what the user can mend; 3 when time is up; 130 when
    interrupted."""
    try:
        return cli.main(args=arguments, prog_name="dynbench", standalone_mode=True)
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
