"""Writes the package: the templates with the method's name put in."""

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from string import Template

from dynbench.errors import UserError
from dynbench.registry import discover

SUFFIX = ".template"


def new_package(name: str, into: Path) -> list[Path]:
    """Write the package `name` as a folder of `into`; returns its files.

    Raises UserError when the name cannot be a module's or is taken, when the folder exists, or when it cannot be
    written.
    """
    _check_name(name)
    folder = into / name
    values = {"name": name, "class_name": class_name(name), "distribution": f"dynbench-{name.replace('_', '-')}"}
    try:
        folder.mkdir(parents=True)
        return [_write(template, folder / _place(path, name), values) for path, template in _templates()]
    except FileExistsError as error:
        raise UserError(f"{folder} exists already; choose another name, or another folder by --into") from error
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error


def class_name(name: str) -> str:
    """Return `MyMethod` of `my_method`."""
    return "".join(part.capitalize() for part in name.split("_"))


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UserError(
            f'"{name}" cannot be a method\'s name; give lower-case words joined by _, for example my_method'
        )
    if name in discover():
        raise UserError(f'there is a method "{name}" already, of {discover()[name].distribution}; choose another name')
    module = find_spec(name)
    if module is not None and module.origin is not None:  # without one it is but a folder on the path
        raise UserError(f'there is a Python module "{name}" already; choose another name')


def _templates() -> list[tuple[str, Traversable]]:
    """Every template, with its path below the folder of them."""
    return list(_below(files("dynbench.scaffold") / "template", ""))


def _below(folder: Traversable, path: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        here = f"{path}{entry.name}"
        found += _below(entry, f"{here}/") if entry.is_dir() else [(here, entry)] if here.endswith(SUFFIX) else []
    return found


def _place(path: str, name: str) -> str:
    """Where the template goes: `method.py` becomes the method's module."""
    place = path.removesuffix(SUFFIX)
    return f"{name}.py" if place == "method.py" else place.replace("test_method.py", f"test_{name}.py")


def _write(template: Traversable, path: Path, values: dict[str, str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(Template(template.read_text(encoding="utf-8")).substitute(values), encoding="utf-8")
    return path
