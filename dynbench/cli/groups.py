"""A command group that imports a command's file only when the command is called."""

from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """`commands_in` is the package in which command NAME is NAME.py and a click command `NAME_command` in it;
    `help_lines` gives each name its line of help."""

    def __init__(self, *args: Any, commands_in: str, help_lines: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._package, self._lines = commands_in, help_lines

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._lines:
            return None
        module = import_module(f"{self._package}.{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lines.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._lines and not name.startswith("-"):
            from dynbench.errors import did_you_mean

            ctx.fail(f'unknown command "{name}"; {did_you_mean(name, self._lines)}')
        return super().resolve_command(ctx, args)
