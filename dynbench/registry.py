"""Methods by name, from the entry-point group `dynbench.methods`: discover, then load on demand."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import TYPE_CHECKING

from dynbench.errors import UserError, describe, did_you_mean
from dynbench.isolate.call import call, get_ready, is_supervised
from dynbench.isolate.child import Ask
from dynbench.isolate.limits import ChildEnded
from dynbench.suite.schema import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from dynbench.method import Method


GROUP = "dynbench.methods"
OWN = "dynbench"
"""The distribution whose methods are dynbench's own."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
"""Of a method: files are named after it."""


@dataclass(frozen=True)
class Plugin:
    """A registered method that has not been imported yet."""

    entry_point: EntryPoint

    @property
    def name(self) -> str:
        """Return the name that the method is registered by."""
        return self.entry_point.name

    @property
    def distribution(self) -> str:
        """Package and version it comes from, e.g. `dynbench 0.1.0`."""
        dist = self.entry_point.dist
        return f"{dist.name} {dist.version}" if dist else "unknown"

    @property
    def is_own(self) -> bool:
        """Whether it is part of dynbench: it imports if dynbench does."""
        return self.entry_point.dist is not None and self.entry_point.dist.name == OWN


@cache
def discover() -> dict[str, Plugin]:
    """Return every registered method by name; nothing is imported.

    Raises UserError when two packages claim one name.
    """
    plugins: dict[str, Plugin] = {}
    for plugin in map(Plugin, entry_points(group=GROUP)):
        first = plugins.setdefault(plugin.name, plugin)
        if first.distribution != plugin.distribution:
            raise UserError(
                f'method "{plugin.name}" is registered by {first.distribution} and by {plugin.distribution}; '
                "uninstall one of them"
            )
    return plugins


def find(name: str) -> Plugin:
    """Return the plugin called `name`.

    Raises UserError with the nearest name, or when it has a name that no file can have.
    """
    plugins = discover()
    if name not in plugins:
        raise UserError(f'unknown method "{name}"; {did_you_mean(name, plugins)}')
    if not NAME.fullmatch(name):
        raise UserError(
            f'method "{name}" of {plugins[name].distribution}: methods are named with at most 100 of A-Za-z0-9_.+-'
        )
    return plugins[name]


_tried: set[str] = set()
"""Plugins that have been imported in another process, and did not take it with them."""


def try_import(name: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Import the method called `name` in a process that is bound by the limits of planning, once, unless this one is.

    Whoever imports it here afterwards is not hung or ended by it. Raises UserError when it is unknown, broken or not a
    Method, and when it hangs or ends the process.
    """
    from dynbench.guards.side_effects import unwatched

    plugin = find(name)
    if plugin.is_own or name in _tried or is_supervised():
        return
    get_ready("dynbench.registry", "dynbench.method")  # of several children each would import PyTorch
    try:
        with unwatched():  # the pipe to the child is ours, wherever a method is first asked for
            call(_import_there, name, limits=limits.while_planning)
    except ChildEnded as error:
        raise UserError(f'method "{name}" of {plugin.distribution} does not import: {error}') from error
    _tried.add(name)


def _import_there(ask: Ask, name: str) -> None:  # noqa: ARG001
    """In the child."""
    load_method(name)


@cache
def load_method(name: str) -> "type[Method]":
    """Import the method called `name`, after another process has. Raises UserError as `try_import` does."""
    from dynbench.guards.side_effects import watched
    from dynbench.method import Method

    try_import(name)
    plugin = find(name)
    try:
        with watched("while it was imported", files_only=True):
            loaded = plugin.entry_point.load()
    except (Exception, SystemExit) as error:
        raise UserError(f'method "{name}" of {plugin.distribution} does not import: {describe(error)}') from error
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise UserError(f'method "{name}" of {plugin.distribution} is not a subclass of dynbench.method.Method')
    if isabstract(loaded):
        missing = ", ".join(sorted(loaded.__abstractmethods__))
        raise UserError(f'method "{name}" of {plugin.distribution} does not define {missing}')
    return loaded
