"""The base of everything that a suite file may say: typed, frozen, nothing unknown."""

from collections.abc import Hashable
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

LARGEST = 10**9
"""Of whatever is counted."""
LONGEST_NAME = 100
"""Characters: files and folders are named so."""
WIDEST = 100.0
"""Times the channels of a backbone: nets beyond fit into no machine."""


def _countable(value: int) -> int:
    if value > LARGEST:
        raise PydanticCustomError("less_than_equal", "expected a number of at most {le}", {"le": LARGEST})
    return value


Count = Annotated[int, Field(gt=0), AfterValidator(_countable)]
"""Above 0; the upper bound is beyond what anybody means."""
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Model(BaseModel):
    """Frozen; unknown keys, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, given: Any) -> Any:
        """Pydantic takes `true` for 1."""
        if isinstance(given, dict):
            wrong = [name for name, field in cls.model_fields.items() if _truth_for_number(given.get(name), field)]
            if wrong:
                kind = PydanticCustomError("truth_for_number", "expected a number")
                raise ValidationError.from_exception_data(
                    cls.__name__, [{"type": kind, "loc": (name,), "input": given[name]} for name in wrong]
                )
        return given


def _truth_for_number(value: Any, field: FieldInfo) -> bool:
    if not _holds_truth(value):
        return False
    types = _types_in(field.annotation)
    return bool(types & {int, float}) and not types & {bool, Any}


def _types_in(annotation: Any) -> set[Any]:
    """An annotation and all that it is made of."""
    parts = {part for part in (annotation, get_origin(annotation)) if isinstance(part, Hashable)}
    return parts.union(*map(_types_in, get_args(annotation)))


def _holds_truth(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_holds_truth, value)))


def named(value: Any) -> Any:
    """Return `{name: sgd}` for `sgd`, its short form, and everything else as it is."""
    return {"name": value} if isinstance(value, str) else value
