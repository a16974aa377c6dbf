"""`dynbench methods`."""

import inspect
import sys
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import click

from dynbench.cli.terminal import complain, say
from dynbench.errors import UserError
from dynbench.registry import Plugin, discover, load_method, try_import
from dynbench.suite.schema import Limits


@click.command("methods")
@click.option("--timeout", type=click.FloatRange(min=1), default=60, show_default=True, help="Seconds of one import.")
def methods_command(timeout: float) -> None:
    """List the registered methods, where they come from, and their parameters with defaults."""
    problems = []
    for plugin in sorted(discover().values(), key=lambda plugin: plugin.name):
        try:
            try_import(plugin.name, Limits(planning_minutes=timeout / 60))
            _show(plugin)
        except UserError as error:
            problems.append(error)
    for problem in problems:
        complain(problem)
    sys.exit(2 if problems else 0)


def _show(plugin: Plugin) -> None:
    method = load_method(plugin.name)
    summary = (inspect.getdoc(method) or "").split("\n\n")[0].replace("\n", " ")
    say(f"{plugin.name}  ({plugin.distribution})\n    {summary}")
    for key, field in method.Config.model_fields.items():
        default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
        say(f"    {key}: {_kind(field.annotation)} = {default}")


def _kind(annotation: Any) -> str:
    """`float | None`: a parameter's type without its limits."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return " | ".join(map(_kind, get_args(annotation)))
    if get_origin(annotation) is list:
        return f"list[{_kind(*get_args(annotation))}]"
    if get_origin(annotation) is tuple:
        return f"tuple[{', '.join(map(_kind, get_args(annotation)))}]"
    if annotation is Ellipsis:
        return "..."
    return "None" if annotation is NoneType else inspect.formatannotation(annotation)
