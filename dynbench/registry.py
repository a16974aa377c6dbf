"""Methods by name, from the entry-point group `dynbench.methods`: discover, then load on demand."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import TYPE_CHECKING

from dynbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from dynbench.method import Method


GROUP = "dynbench.methods"


@dataclass(frozen=True)
class Plugin:
    """A registered method that has not been imported yet."""

    entry_point: EntryPoint

    @property
    def name(self) -> str:
        return self.entry_point.name

    @property
    def distribution(self) -> str:
        """Package and version it comes from, e.g. `dynbench 0.1.0`."""
        dist = self.entry_point.dist
        return f"{dist.name} {dist.version}" if dist else "unknown"


@cache
def discover() -> dict[str, Plugin]:
    """Every registered method by name; nothing is imported. Raises UserError when two packages claim one name."""
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
    """The plugin called `name`. Raises UserError with the nearest name."""
    plugins = discover()
    if name not in plugins:
        raise UserError(f'unknown method "{name}"; {did_you_mean(name, plugins)}')
    return plugins[name]


@cache
def load_method(name: str) -> "type[Method]":
    """Import the method called `name`. Raises UserError when it is unknown, broken or not a Method."""
    from dynbench.guards.side_effects import watched
    from dynbench.method import Method

    plugin = find(name)
    try:
        with watched("while it was imported", files_only=True):
            loaded = plugin.entry_point.load()
    except (Exception, SystemExit) as error:
        raise UserError(f'method "{name}" of {plugin.distribution} does not import: {_one_line(error)}') from error
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise UserError(f'method "{name}" of {plugin.distribution} is not a subclass of dynbench.method.Method')
    if isabstract(loaded):
        missing = ", ".join(sorted(loaded.__abstractmethods__))
        raise UserError(f'method "{name}" of {plugin.distribution} does not define {missing}')
    return loaded


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
