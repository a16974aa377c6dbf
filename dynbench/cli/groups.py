"""A command group that imports a command's module only when it is called."""

from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """`commands_at` maps a name to (module, help line); the module holds a click command `command`."""

    def __init__(self, *args: Any, commands_at: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._at:
            return None
        command: click.Command = import_module(self._at[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._at.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._at and not name.startswith("-"):
            from dynbench.errors import did_you_mean

            ctx.fail(f'unknown command "{name}"; {did_you_mean(name, self._at)}')
        return super().resolve_command(ctx, args)
