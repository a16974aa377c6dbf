"""A baseline: what a check compares records with, in one file. Made from records alone, and needs none of them later.

Units: MACs per image, seconds; `correct` is base64 of one bit for each test image (`dynbench.check.baseline`).
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from dynbench.analysis.statistics import Flags
from dynbench.errors import UserError
from dynbench.files import write_atomically
from dynbench.suite.schema import CheckRules


def pack_flags(flags: Flags) -> str:
    """bool (images,) -> base64 of eight images a byte."""
    return base64.b64encode(np.packbits(flags).tobytes()).decode()


def unpack_flags(text: str, images: int) -> Flags:
    """The inverse. Raises ValueError when `text` is not that of so many images."""
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if len(content) != -(-images // 8):
        raise ValueError(f"{len(content)} bytes are not those of {images} images")
    return np.unpackbits(np.frombuffer(content, np.uint8), count=images).astype(bool)


BASELINE_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaselineMacs(_Part):
    """Over the test images; `deviation` is their standard deviation."""

    mean: float
    deviation: float


class BaselineLatency(_Part):
    """`realised` at one batch size, and everything that has to be the same for another to be compared with it."""

    batch: int
    realised: float
    realised_best: float | None = None
    device: str
    cpu: str
    cores: int
    threads: int
    engine: str
    precision: str


class BaselinePoint(_Part):
    """One operating point of one run."""

    name: str
    images: int
    correct: str
    macs: BaselineMacs
    audited: bool
    """Whether it had an executor, and executed equalled accounted MACs."""
    latency: BaselineLatency | None = None

    @model_validator(mode="after")
    def _readable(self) -> "BaselinePoint":
        if not self.images:
            raise ValueError("no test images")
        unpack_flags(self.correct, self.images)
        return self

    @property
    def flags(self) -> Flags:
        return unpack_flags(self.correct, self.images)


class BaselineRun(_Part):
    """One seed. `layers`: MACs of each layer when it runs whole."""

    seed: int
    run_id: str
    train_macs: int
    layers: dict[str, int]
    points: tuple[BaselinePoint, ...]
    commit: str
    versions: dict[str, str]

    def point(self, name: str) -> BaselinePoint | None:
        return next((point for point in self.points if point.name == name), None)


class BaselineConfiguration(_Part):
    """Runs that differ in nothing but their seed. `identity`: what was asked for; `title`: the same for people."""

    title: str
    identity: dict[str, Any]
    static: bool
    runs: tuple[BaselineRun, ...]

    @property
    def point_names(self) -> tuple[str, ...]:
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
        return self


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Raises UserError when it cannot be written."""
    write_atomically(path, baseline.model_dump_json(indent=1, exclude_none=True).encode() + b"\n")


def read_baseline(path: Path) -> Baseline:
    """Raises UserError when there is none, it is damaged, or of another version."""
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"cannot read baseline {path}: {error.strerror}; `dynbench baseline RESULTS -o {path}` makes one"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        raise UserError(
            f"baseline {path} is damaged or of another version: {'.'.join(map(str, first['loc'])) or 'file'}: {message}"
        ) from error
