"""Writes tables of the keys of a pydantic model, and of the models within it, in Markdown.

What a value may be is read from the model's JSON schema, and what a key means from the docstring below its field.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel

Schema = Mapping[str, Any]
BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
NOWHERE: Mapping[str, str] = {}
HEADER = ("| key | value | default | what it says |", "|---|---|---|---|")


def key_tables(model: type[BaseModel], top: str, elsewhere: Mapping[str, str] = NOWHERE) -> str:
    """Return a section for `model`, headed `top`, and one for each model that is a value in it, headed by its path.

    `elsewhere` has the words for models, by their names, that are described in another place.
    """
    schema = model.model_json_schema(mode="serialization" if elsewhere else "validation")
    classes = {found.__name__: found for found in _models_in(model)}
    paths = model_paths(schema, model.__name__)
    words = {name: f"keys of `{path}`" for name, path in paths.items()} | dict(elsewhere)
    sections = []
    for name in (name for name in paths if name not in elsewhere):
        heading = f"`{paths[name]}`" if paths[name] else top
        part = schema if name == model.__name__ else schema["$defs"][name]
        sections.append(_section(heading, classes[name], part, words))
    return "\n\n".join(sections)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models_in(field.annotation)
    for part in get_args(annotation):
        yield from _models_in(part)


def _sections(schema: Schema, name: str, path: str = "") -> Iterator[tuple[str, str]]:
    """Give each model's name and the path of keys to it, in the order of the keys; a model that occurs twice, twice."""
    yield name, path
    part = schema if name not in schema["$defs"] or not path else schema["$defs"][name]
    for key, value in part["properties"].items():
        names = list(_references(value))
        for inner in names:
            kind = schema["$defs"][inner]["properties"].get("name", {}).get("const")
            choice = f": {{name: {kind}}}" if len(names) > 1 and kind else ""
            yield from _sections(schema, inner, f"{path}.{key}{choice}".lstrip("."))


def _references(value: Schema) -> Iterator[str]:
    if "$ref" in value:
        yield value["$ref"].rpartition("/")[2]
    for part in (*value.get("anyOf", ()), *value.get("oneOf", ())):
        yield from _references(part)
    for inner in (value.get("items"), value.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from _references(inner)


def model_paths(schema: Schema, name: str) -> dict[str, str]:
    """Give the path of keys to each model of `schema` by the model's name, the shortest where there are several."""
    paths: dict[str, str] = {}
    for found, path in _sections(schema, name):
        paths[found] = min(paths.get(found, path), path, key=lambda one: one.count("."))
    return paths


def _section(heading: str, model: type[BaseModel], schema: Schema, words: Mapping[str, str]) -> str:
    required = schema.get("required", ())
    meanings = meanings_of(model)
    rows = []
    for key, value in sorted(schema["properties"].items(), key=lambda item: item[0] != "name"):
        cells = (_cell(value_words(value, words)), _default(value, key in required), meanings.get(key, ""))
        rows.append(f"| `{key}` | {' | '.join(cells)} |")
    defined = _definition(model)
    about = one_line(ast.get_docstring(defined) or "") if defined else ""
    return "\n".join((f"### {heading}", "", *((about, "") if about else ()), *HEADER, *rows))


def value_words(value: Schema, words: Mapping[str, str]) -> str:
    """Say what JSON schema `value` allows; `words` has what is said of other models."""
    if "$ref" in value:
        return words[value["$ref"].rpartition("/")[2]]
    if kinds := value.get("discriminator", {}).get("mapping"):
        return " or ".join(f"`{{name: {kind}}}`" for kind in kinds)
    if choices := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(value_words(one, words) for one in choices))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{one}`" for one in value["enum"])
    return _plain_words(value, words)


def _plain_words(value: Schema, words: Mapping[str, str]) -> str:
    kind = value.get("type")
    if kind == "array":
        items = value.get("items") or (value.get("prefixItems") or [{}])[0]
        count = f" of {value['minItems']}" if value.get("minItems", 1) == value.get("maxItems") else ""
        return f"list{count}: {value_words(items, words)}"
    names = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "null": "`null`"}
    names |= {"string": "path" if value.get("format") == "path" else "text", "object": "any keys"}
    return " ".join((names.get(str(kind), "anything"), *_bounds(value)))


def _bounds(value: Schema) -> Iterator[str]:
    if "minimum" in value and value["minimum"] == value.get("maximum"):
        yield str(value["minimum"])
        return
    for key, words in BOUNDS.items():
        if key in value:
            yield f"{words} {value[key]:g}"
    if "pattern" in value:
        yield f"that fits `{value['pattern']}`"


def _default(value: Schema, required: bool) -> str:
    if required:
        return "required"
    default = value.get("default")
    if isinstance(default, dict) and default:
        return f"`{{name: {default['name']}}}`" if "name" in default else "its keys' defaults"
    return f"`{json.dumps(default)}`" if "default" in value else ""


def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """Read the docstring below each field of `model`, and of what it inherits from, as one line."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base.model_fields and base.__module__ != BaseModel.__module__:
            found |= _docstrings_in(base)
    return found


def _docstrings_in(model: type[BaseModel]) -> dict[str, str]:
    defined = _definition(model)
    statements = defined.body if defined else []
    return {
        field.target.id: one_line(below.value.value)
        for field, below in pairwise(statements)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


def _definition(model: type[BaseModel]) -> ast.ClassDef | None:
    """Parse the source of `model`; None for a class that was made by a function."""
    try:
        (defined,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except (OSError, TypeError):
        return None
    return defined if isinstance(defined, ast.ClassDef) else None


def one_line(text: str) -> str:
    """Put `text` on one line, so that it can be a cell of a table."""
    return _cell(re.sub(r"\bNone\b(?=:)", "`null`", " ".join(text.split())))


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
