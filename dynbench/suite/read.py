"""YAML -> SuiteFile, with command-line overrides. Every error is one line that says where and what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from dynbench.errors import UserError
from dynbench.files import read_bounded
from dynbench.suite.document import BoundedComposer, check_document
from dynbench.suite.locate import Locator, Place, explain
from dynbench.suite.schema import SuiteFile


def parse_yaml(text: str, source: str) -> Any:
    """Return a YAML 1.2 document whose mappings remember their lines.

    Raises UserError with file:line when it is none, or holds what `dynbench.suite.document` does not take.
    """
    document = _parsed(text, source)
    check_document(document, Locator(source, document))
    return document


def _parsed(text: str, source: str) -> Any:
    yaml = YAML(typ="rt")
    yaml.Composer = BoundedComposer
    try:
        return yaml.load(text)
    except DuplicateKeyError as error:
        key = str(error.problem).split('"')[1] if '"' in str(error.problem) else "?"
        raise UserError(f'{source}:{_line(error)}: duplicate key "{key}"; each key may occur only once') from error
    except MarkedYAMLError as error:
        raise UserError(f"{source}:{_line(error)}: not valid YAML: {error.problem or error.context}") from error
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise UserError(f"{source}:{line}: not valid YAML: character {error.character:#x} is not allowed") from error
    except (YAMLError, ValueError) as error:
        raise UserError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from error


def _line(error: MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


LONGEST_FILE = 2**17
"""Bytes of a suite."""


def read_text(path: Path) -> str:
    """Return the suite file's text. Raises UserError when it cannot be read, is no file, or too long."""
    content = read_bounded(path, "suite", LONGEST_FILE)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not a text file (UTF-8 expected)") from error


def place_of(dotted: str) -> Place:
    """Return `methods.0.params` as a place in a document."""
    return tuple(int(part) if part.isdigit() else part for part in dotted.split("."))


def set_value(document: Any, place: Place, value: Any, option: str) -> None:
    """Set the value at `place`; the `option` that asks for it is named when the way is blocked (UserError)."""
    *path, last = place
    node = document
    for part in path:
        if isinstance(node, dict) and part not in node:
            node[part] = {}
        try:
            node[part] = long_form(part, node[part])
            node = node[part]
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f'{option}: the suite has no "{part}" to look into') from error
    try:
        node[last] = value
    except (IndexError, TypeError) as error:
        raise UserError(f'{option}: "{last}" cannot be set there') from error


def long_form(key: str | int, value: Any) -> Any:
    """Return the long form, `{name: sgd}` for the short form `sgd`; anything else as it is."""
    if not isinstance(value, str):
        return value
    if key == "latency" and value == "none":
        return {}
    return {"backend" if key == "tracking" else "name": value}


def parse_setting(setting: str) -> tuple[Place, Any]:
    """Place and value of a `key=value` override; the value is YAML. Raises UserError."""
    key, equals, value = setting.partition("=")
    if not key or not equals:
        raise UserError(f"--set {setting}: expected key=value, for example recipe.epochs=3")
    return place_of(key.strip()), parse_yaml(value, f"--set {key}")


def validate(document: Any, source: str, options: Mapping[Place, str] | None = None) -> tuple[SuiteFile, Locator]:
    """Check a document against the schema; `options` names the command-line option that set a place.

    Raises UserError with file:line, or that option, and the key.
    """
    locator = Locator(source, document, options or {})
    if not isinstance(document, dict) or not document:
        found = "a suite is a mapping, this is not" if document else "the suite is empty"
        raise UserError(f"{source}:1: {found}; it needs name, data, backbones, recipe and methods")
    check_document(document, locator)  # with what options have set
    try:
        return SuiteFile.model_validate(plain(document)), locator
    except ValidationError as error:
        raise UserError(explain(error, locator, (), SuiteFile)) from error


def plain(node: Any) -> Any:
    """Ruamel's round-trip structures as ordinary Python values."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
