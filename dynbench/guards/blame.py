"""Whose error it was: a plugin may raise what the harness raises."""

from types import TracebackType

from dynbench.errors import UserError


def is_of_plugin(error: BaseException, plugin: type) -> bool:
    """Return whether `error` came out of the code of the class `plugin`.

    That is code of the package, or the file, that defines the class; also what the harness raised when such code called
    it.
    """
    own = _root(plugin.__module__)
    return any(_root(str(module)) == own for module in _modules(error.__traceback__))


def as_the_plugins(error: UserError, plugin: type, name: str) -> UserError:
    """Return the error that says which method it came from, if it came from that of class `plugin`, called `name`."""
    return UserError(f'method "{name}": {error}') if is_of_plugin(error, plugin) else error


def _modules(trace: TracebackType | None) -> "list[object]":
    found = []
    while trace is not None:
        found.append(trace.tb_frame.f_globals.get("__name__"))
        trace = trace.tb_next
    return found


def _root(module: str) -> str:
    return module.partition(".")[0]
