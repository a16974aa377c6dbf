"""From a place in a suite (`("methods", 2, "params")`) to `file:line`, and errors that people can act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dynbench.registry import did_you_mean

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Locator:
    """Knows the lines of a YAML document (ruamel.yaml's round-trip structures remember them)."""

    source: str
    document: Any

    def at(self, place: Place) -> str:
        """`file:line` of the deepest part of `place` that the document has."""
        node, line = self.document, _own_line(self.document)
        for key in place:
            found = _line_of(node, key)
            if found is None:
                break
            line, node = found, node[key]
        return f"{self.source}:{line + 1}"


def _own_line(node: Any) -> int:
    return int(getattr(getattr(node, "lc", None), "line", 0) or 0)


def _line_of(node: Any, key: str | int) -> int | None:
    lines = getattr(getattr(node, "lc", None), "data", None)
    if lines is None or key not in lines:
        return None
    return int(lines[key][0])


def explain(error: ValidationError, locator: Locator, prefix: Place, schema: type[BaseModel]) -> str:
    """One line for the first thing that is wrong: file:line, key, what was expected, nearest valid key."""
    first = error.errors(include_url=False)[0]
    place: Place = tuple(part for part in first["loc"] if not _is_tag(part))
    key = ".".join(str(part) for part in (*prefix, *place))
    where = locator.at((*prefix, *place))
    if first["type"] == "extra_forbidden":
        model = _model_at(schema, tuple(first["loc"][:-1]))
        return f'{where}: unknown key "{key}"; {did_you_mean(str(place[-1]), model.model_fields)}'
    got = "" if first["type"] == "missing" else f", got {_shown(first['input'])}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {key or schema.__name__}: {message[0].lower()}{message[1:]}{got}"


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {_yaml_type(value)}"
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004


def _yaml_type(value: Any) -> str:
    return "mapping" if isinstance(value, Mapping) else "list" if isinstance(value, Sequence) else type(value).__name__


def _is_tag(part: str | int) -> bool:
    """Whether pydantic put `part` into the location by itself: the branch of a union."""
    return isinstance(part, str) and part in {"sgd", "adam", "step", "cosine", "constant"}


def _model_at(schema: type[BaseModel], place: Place) -> type[BaseModel]:
    """The model that describes `place` within `schema`."""
    model = schema
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            candidates = _models_in(model.model_fields[part].annotation)
            model = candidates[0] if len(candidates) == 1 else model
        elif isinstance(part, str):
            named = [m for m in _all_models(schema) if part in get_args(_name_annotation(m))]
            model = named[0] if named else model
    return model


def _name_annotation(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("name")
    return field.annotation if field else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _all_models(schema: type[BaseModel]) -> list[type[BaseModel]]:
    found = [m for field in schema.model_fields.values() for m in _models_in(field.annotation)]
    return [schema, *(deeper for model in found for deeper in _all_models(model))]
