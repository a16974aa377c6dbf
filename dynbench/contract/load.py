"""A method on trial by its name, or by its place in a file."""

import importlib.util
import sys
from inspect import isabstract
from pathlib import Path
from types import ModuleType

from dynbench.errors import UserError, did_you_mean
from dynbench.guards.side_effects import watched
from dynbench.guards.tampering import seal
from dynbench.method import Method
from dynbench.registry import load_method


def load_target(target: str) -> tuple[type[Method], str | None]:
    """Return the class that `NAME`, `path.py:Class` or `path.py` means, and its registered name, if any.

    `path.py` has to have one method in it. Raises UserError when there is no such method.
    """
    seal()  # before the plugin is imported, however it is named
    path, _, name = target.rpartition(":") if ".py:" in target else (target, "", "")
    if not path.endswith(".py"):
        return load_method(target), target
    return _class_of(load_file(Path(path)), path, name), None


def load_file(path: Path) -> ModuleType:
    """Return the file as a module; it may import what lies beside it. Raises UserError."""
    if not path.is_file():
        raise UserError(f"no file {path}")
    sys.path.insert(0, str(path.parent.absolute()))
    name = f"{path.stem}_on_trial"  # under its own name it could take another module's place
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with watched("while it was imported", files_only=True):
            spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} does not import: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return module


def _class_of(module: ModuleType, path: str, name: str) -> type[Method]:
    own = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    }
    if not name and len(own) == 1:
        (name,) = own
    if name not in own:
        problem = f'no method "{name}" in {path}' if name else f"{path} has {len(own)} methods; say {path}:Class"
        raise UserError(f"{problem}; {did_you_mean(name, own)}" if own else f"{path} defines no method")
    if isabstract(own[name]):
        raise UserError(f"{path}: {name} does not define {', '.join(sorted(own[name].__abstractmethods__))}")
    return own[name]
