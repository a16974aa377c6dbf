"""A run: what is trained and evaluated, and the id that is made of it."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from dynbench.registry import load_method
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import BackboneSpec, DataSpec

if TYPE_CHECKING:
    from dynbench.method import Method


RESULTS_VERSION = 1
"""Raised when the harness changes what a run results in: every run id then changes."""


class Start(BaseModel):
    """Where a run's backbone weights come from: another run (`run_id`), or a file by its SHA-256."""

    model_config = ConfigDict(frozen=True)

    run_id: str | None = None
    file: str | None = None
    sha256: str | None = None
    epochs: int = 0


class Run(BaseModel):
    """One training and its evaluation: everything that affects the result, and nothing else but names."""

    model_config = ConfigDict(frozen=True)

    suite: str
    data: DataSpec
    backbone: BackboneSpec
    """The suite's backbone: the dense reference."""
    built: BackboneSpec
    """The backbone that the method is built on: another width, say."""
    recipe: Recipe
    seed: int
    method: str
    method_version: int
    params: dict[str, Any]
    """The method's whole configuration, defaults included."""
    given: dict[str, Any]
    """The part of `params` that differs from the defaults: what people want to see."""
    start: Start | None = None

    @property
    def run_id(self) -> str:
        """`METHOD-BACKBONE-sSEED-HASH`.

        Values equal to their defaults are left out of the hash, so that a new option does not rename the runs that
        never used it.
        """
        return self.id_by(RESULTS_VERSION)

    def id_by(self, results_version: int) -> str:
        """Return the run id that a version of the harness gives it."""
        identity = {
            "results_version": results_version,
            "data": self.data.model_dump(mode="json", exclude_defaults=True),
            "backbone": self.backbone.model_dump(mode="json", exclude_defaults=True),
            "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True),
            "seed": self.seed,
            "method": [self.method, self.method_version, self.given_but_the_file],
            "start": self.start and (self.start.run_id or self.start.sha256),
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return f"{self.method}-{self.backbone.name}-s{self.seed}-{digest[:10]}"

    @property
    def given_but_the_file(self) -> dict[str, Any]:
        """A file of weights counts by its content, wherever it lies."""
        file = self.start.file if self.start else None
        return {key: value for key, value in self.given.items() if file is None or value != file}

    @property
    def label(self) -> str:
        """The method and everything that was asked of it: `lc_net l1_layer=0.1`.

        Tracked runs and baselines are called so; tables and plots call it as `dynbench.analysis.names` does.
        """
        return " ".join([self.method, *(parameter(key, value) for key, value in self.given.items())])

    def make_method(self) -> "Method":
        """Return the method, configured."""
        loaded = load_method(self.method)
        return loaded(loaded.Config.model_validate(self.params))

    @property
    def epochs(self) -> int:
        """Epochs of its own stages, without those of what it starts from."""
        return sum(stage.epochs for stage in self.make_method().stages(self.recipe))

    def needs(self) -> str | None:
        """Id of the run whose weights this one starts from."""
        return self.start.run_id if self.start else None


def parameter(key: str, value: Any) -> str:
    """Return a parameter as people read it: `l1_layer=0.1`."""
    return f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"


def derived_seed(seed: int, *parts: object) -> int:
    """Return a seed for one purpose: independent of every other purpose's, the same on every machine."""
    text = "/".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
