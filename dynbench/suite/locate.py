"""From a place in a suite (`("methods", 2, "params")`) to `file:line`, and errors that people can act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dynbench.errors import did_you_mean

Place = tuple[str | int, ...]

EXPECTED = {
    "missing": "required, but missing",
    "string_type": "expected text",
    "string_pattern_mismatch": "expected text that matches {pattern}",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "greater_than": "expected a number greater than {gt}",
    "greater_than_equal": "expected a number of at least {ge}",
    "less_than": "expected a number less than {lt}",
    "less_than_equal": "expected a number of at most {le}",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "string_too_long": "expected text of at most {max_length} characters",
    "too_short": "expected a list of at least {min_length}",
    "too_long": "expected a list of at most {max_length}",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "literal_error": "expected {expected}",
    "union_tag_not_found": "expected a mapping with the key {discriminator}",
}
"""Pydantic's commonest errors, in a suite author's words."""
SELF_EXPLAINING = frozenset({"missing", "value_error", "union_tag_not_found", "too_short", "too_long"})


@dataclass(frozen=True)
class Locator:
    """Knows the lines of a YAML document, and which places an option of the command line has set.

    ruamel.yaml's round-trip structures remember the lines.
    """

    source: str
    document: Any
    options: Mapping[Place, str] = field(default_factory=dict)

    def at(self, place: Place) -> str:
        """Return `file:line` of the deepest part of `place` that the document has, or the option that set it."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.options:
                return self.options[place[:length]]
        node, line = self.document, _own_line(self.document)
        for part in place:
            key = _key(node, part)
            found = _line_of(node, key)
            if found is None:
                break
            line, node = found, node[key]
        return f"{self.source}:{line + 1}"


def _own_line(node: Any) -> int:
    return int(getattr(getattr(node, "lc", None), "line", 0) or 0)


def _line_of(node: Any, key: Any) -> int | None:
    lines = getattr(getattr(node, "lc", None), "data", None)
    if lines is None or key not in lines:
        return None
    return int(lines[key][0])


def _key(node: Any, part: str | int) -> Any:
    """The key of a YAML mapping that is `part` as text; `part` itself when there is none, or in a list."""
    if not isinstance(node, Mapping):
        return part
    return next((key for key in node if str(key) == str(part)), part)


def explain(error: ValidationError, locator: Locator, prefix: Place, schema: type[BaseModel]) -> str:
    """Return one line for what is wrong: file:line, key, what was expected, nearest valid key.

    An unknown key comes first: it may be why another is missing.
    """
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    place = (*prefix, *_in_document(first["loc"], first["type"], locator.document, prefix))
    key = ".".join(map(str, place))
    if first["type"] == "extra_forbidden":
        model = _model_at(schema, tuple(first["loc"][:-1]))
        return f'{locator.at(place)}: unknown key "{key}"; {did_you_mean(str(place[-1]), model.model_fields)}'
    if first["type"] == "union_tag_invalid":
        known = [tag.strip("' ") for tag in first["ctx"]["expected_tags"].split(",")]
        tag = first["ctx"]["tag"]
        return f'{locator.at((*place, "name"))}: {key}: unknown name "{tag}"; {did_you_mean(tag, known)}'
    got = "" if first["type"] in SELF_EXPLAINING else f", got {_shown(first['input'])}"
    return f"{locator.at(place)}: {key or schema.__name__}: {_expected(first)}{got}"


def _expected(error: Any) -> str:
    if error["type"] in EXPECTED:
        return EXPECTED[error["type"]].format_map(error.get("ctx", {}))
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str | int | float | bool) else f"a {_yaml_type(value)}"
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004


def _yaml_type(value: Any) -> str:
    return "mapping" if isinstance(value, Mapping) else "list" if isinstance(value, Sequence) else type(value).__name__


def _in_document(loc: Place, kind: str, document: Any, prefix: Place) -> Place:
    """`loc`, without what pydantic puts into it by itself: the branches of unions."""
    node = document
    place: list[str | int] = []
    for part in prefix:
        node = _child(node, part)
    for index, part in enumerate(loc):
        is_absent_key = kind == "missing" and index + 1 == len(loc)
        if is_absent_key or _has(node, part):
            place.append(part)
            node = _child(node, part)
    return tuple(place)


def _has(node: Any, part: str | int) -> bool:
    if isinstance(node, Mapping):
        return _key(node, part) in node
    return isinstance(node, list) and isinstance(part, int) and part < len(node)


def _child(node: Any, part: str | int) -> Any:
    return node[_key(node, part)] if _has(node, part) else None


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
    named = model.model_fields.get("name")
    return named.annotation if named else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _all_models(schema: type[BaseModel]) -> list[type[BaseModel]]:
    found = [m for field in schema.model_fields.values() for m in _models_in(field.annotation)]
    return [schema, *(deeper for model in found for deeper in _all_models(model))]
