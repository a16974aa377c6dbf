"""A baseline: what a check compares records with, in one file. Made from records alone, and needs none of them later.

Units: MACs per image, seconds; `correct` is base64 of one bit for each test image (`dynbench.check.baseline`).
"""

import base64
import binascii
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dynbench.analysis.statistics import Flags
from dynbench.errors import UserError
from dynbench.files import read_bounded, write_atomically
from dynbench.plan.configuration import identity_key
from dynbench.record.schema import LARGEST, Amount, AtLeastOne, Count
from dynbench.suite.schema import CheckRules


def pack_flags(flags: Flags) -> str:
    """Bool (images,) -> base64 of eight images a byte."""
    return base64.b64encode(np.packbits(flags).tobytes()).decode()


def unpack_flags(text: str, images: int) -> Flags:
    """Return the inverse. Raises ValueError when `text` is not that of this many images."""
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if len(content) != -(-images // 8):
        raise ValueError(f"{len(content)} bytes are not those of {images} images")
    return np.unpackbits(np.frombuffer(content, np.uint8), count=images).astype(bool)


BASELINE_VERSION = 1
LARGEST_BASELINE = 2**28
"""Bytes: of 50,000 images, some thirty thousand runs."""

Seed = Annotated[int, Field(ge=-LARGEST - 1, le=LARGEST)]


def _check_once(names: Iterable[Hashable], what: str) -> None:
    """Raises ValueError when a name occurs twice."""
    seen: set[Hashable] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name} occurs twice")
        seen.add(name)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


LEAST = 1e-9
"""Mean MACs that are not none."""


class BaselineMacs(_Part):
    """Over the test images; `deviation` is their standard deviation."""

    mean: Amount
    deviation: Amount

    @model_validator(mode="after")
    def _possible(self) -> "BaselineMacs":
        """A mean of nothing is one of images that all cost nothing."""
        if self.deviation and self.mean < LEAST:
            raise ValueError("MACs that deviate from a mean of none")
        return self


class BaselineLatency(_Part):
    """`realised` at one batch size, and everything that has to be the same for another to be compared with it."""

    batch: AtLeastOne
    realised: Amount
    realised_best: Amount | None = None
    device: str
    cpu: str
    cores: int
    threads: int
    engine: str
    precision: str


class BaselinePoint(_Part):
    """One operating point of one run."""

    name: str
    images: AtLeastOne
    correct: str
    macs: BaselineMacs
    audited: bool
    """Whether it had an executor, and executed equalled accounted MACs."""
    latency: BaselineLatency | None = None

    @model_validator(mode="after")
    def _readable(self) -> "BaselinePoint":
        unpack_flags(self.correct, self.images)
        return self

    @property
    def flags(self) -> Flags:
        """Return for each test image whether it was classified rightly."""
        return unpack_flags(self.correct, self.images)


class BaselineRun(_Part):
    """One seed. `layers`: MACs of each layer when it runs whole."""

    seed: Seed
    run_id: str
    train_macs: Count
    layers: dict[str, Count]
    points: Annotated[tuple[BaselinePoint, ...], Field(min_length=1)]
    commit: str
    versions: dict[str, str]

    @model_validator(mode="after")
    def _points_once(self) -> "BaselineRun":
        _check_once((point.name for point in self.points), "point")
        return self

    def point(self, name: str) -> BaselinePoint | None:
        """Return the operating point of that name, or None."""
        return next((point for point in self.points if point.name == name), None)


class BaselineConfiguration(_Part):
    """Runs that differ in nothing but their seed. `identity`: what was asked for; `title`: the same for people."""

    title: str
    identity: dict[str, Any]
    static: bool
    runs: Annotated[tuple[BaselineRun, ...], Field(min_length=1)]

    @field_validator("identity")
    @classmethod
    def _names_its_data(cls, value: dict[str, Any]) -> dict[str, Any]:
        data = value.get("data")
        if not (isinstance(data, dict) and isinstance(data.get("name"), str)):
            raise ValueError("it does not say on which data")  # noqa: TRY004  (pydantic's)
        return value

    @model_validator(mode="after")
    def _seeds_once(self) -> "BaselineConfiguration":
        _check_once((run.seed for run in self.runs), "seed")
        return self

    @property
    def point_names(self) -> tuple[str, ...]:
        """Return the names of all operating points, each once."""
        return tuple(dict.fromkeys(point.name for run in self.runs for point in run.points))


class Baseline(_Part):
    """The whole file."""

    baseline_version: int = BASELINE_VERSION
    command: str
    rules: CheckRules
    configurations: tuple[BaselineConfiguration, ...]

    @model_validator(mode="after")
    def _known_version(self) -> "Baseline":
        if self.baseline_version != BASELINE_VERSION:
            raise ValueError(f"version {self.baseline_version}; this dynbench reads version {BASELINE_VERSION}")
        _check_once((identity_key(one.identity) for one in self.configurations), "configuration")
        return self


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline to a file. Raises UserError when it cannot be written."""
    write_atomically(path, baseline.model_dump_json(indent=1, exclude_none=True).encode() + b"\n")


def read_baseline(path: Path) -> Baseline:
    """Read a baseline from a file. Raises UserError when there is none, it is damaged, or of another version."""
    try:
        content = read_bounded(path, "baseline", LARGEST_BASELINE)
    except UserError as error:
        raise UserError(f"{error}; `dynbench baseline RESULTS -o {path}` makes one") from error
    try:
        return Baseline.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = " ".join(str(first["msg"]).removeprefix("Value error, ").split())
        raise UserError(
            f"baseline {path} is damaged or of another version: "
            f"{'.'.join(map(str, first['loc']))[:100] or 'file'}: {message[:300]}"
        ) from error
