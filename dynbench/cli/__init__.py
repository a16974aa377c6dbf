"""The command line. Only this package prints and exits; torch and mlflow are imported when a command needs them."""

import io
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from dynbench.cli.terminal import complain, debugging, encode_anything, say, unforeseen
from dynbench.errors import UserError


class LazyGroup(click.Group):
    """`commands_in` is the package in which command NAME is NAME.py and a click command `NAME_command` in it.

    `help_lines` gives each name its line of help.
    """

    def __init__(self, *args: Any, commands_in: str, help_lines: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._package, self._lines = commands_in, help_lines

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands; no command is imported."""
        return list(self._lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        if cmd_name not in self._lines:
            return None
        module = import_module(f"{self._package}.{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lines of help of all commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lines.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begin with; name the nearest one where there is none."""
        name = args[0]
        if name not in self._lines and not name.startswith("-"):
            from dynbench.errors import did_you_mean

            ctx.fail(f'unknown command "{name}"; {did_you_mean(name, self._lines)}')
        return super().resolve_command(ctx, args)


COMMANDS: dict[str, str] = {
    "run": "Train and evaluate what a suite asks for and has not been done.",
    "plan": "Show a suite's runs, their MACs, and which are finished.",
    "time": "Time finished runs on this machine, without training.",
    "report": "Make page, table and plots again from records.",
    "table": "Markdown table of records for a README, with quoted figures.",
    "baseline": "Write what later results are checked against.",
    "check": "Compare results with a baseline; exit code 1: worse.",
    "export": "Write the flat table of a results folder, or its trained weights.",
    "sync": "Send records to MLflow that it does not have yet.",
    "evaluate": "Evaluate backbone weights from a file.",
    "verify": "Evaluate a finished run's weights again: as recorded?",
    "sensitivity": "Prune one layer at a time and evaluate: which layers tolerate it.",
    "audit": "Say what any module executes, image by image, and what it saves.",
    "test": "Try a method: does it keep what every method has to keep?",
    "new": "Write a small package to start a method of your own from.",
    "methods": "List the registered methods and their parameters.",
}


def _show_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print version and commit, as records bear them, and end."""
    if asked and not context.resilient_parsing:
        from importlib.metadata import version

        from dynbench.record.machine import commit

        click.echo(f"dynbench, version {version('dynbench')}, commit {commit()}")
        context.exit()


@click.group(
    cls=LazyGroup,
    commands_in="dynbench.cli.commands",
    help_lines=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Version, commit."
)
def cli() -> None:
    """The benchmark harness for dynamic inference: MACs, accuracy and latency as executed."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point.

    Exit code 0; 1 when runs failed; 2 for what the user can fix, and for an error that nobody foresaw, of which one
    line says where its traceback is; 3 when time is up; 130 when interrupted.
    """
    encode_anything()
    try:
        done = cli.main(args=arguments, prog_name="dynbench", standalone_mode=False)
    except UserError as error:
        complain(error)
        sys.exit(2)
    except click.ClickException as error:
        _show_usage(error)
        sys.exit(error.exit_code)
    except click.Abort:
        say("interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        if debugging():
            raise
        unforeseen(error)
        sys.exit(2)
    sys.exit(done if isinstance(done, int) else 0)


def _show_usage(error: click.ClickException) -> None:
    """What click would print by itself; file names that a shell put in are in it."""
    usage = io.StringIO()
    error.show(file=usage)
    say(usage.getvalue(), err=True, nl=False)
