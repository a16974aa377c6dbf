"""What early exit is told, and what each preset means where it is told nothing."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from dynbench.method import MethodConfig

Name = Literal["branchynet", "sdn", "msdnet_rule", "dg", "bolukbasi"]
Head = Literal["conv", "conv2", "pool", "linear", "published"]
Rule = Literal["entropy", "confidence", "margin", "policy"]
Trunk = Literal["joint", "scratch", "frozen"]
Share = Annotated[float, Field(ge=0, lt=1)]
"""Of the backbone's MACs, after which an exit stands; 0: behind the stem."""


@dataclass(frozen=True)
class Preset:
    """How a paper does it.

    `trunk`: trained with the exits from the trained dense backbone (`joint`), from scratch with them, or left as the
    dense training has it. `lr`: of the exits' training, None: the recipe's. `steps`: what an operating point is called
    and its values, by rising cost; the last point, at which nobody leaves, is not among them. `exits`: shares of the
    MACs, None: behind every stage but the last.
    """

    head: Head
    rule: Rule
    trunk: Trunk
    step: str
    steps: tuple[float, ...]
    lr: float | None = None
    exits: tuple[float, ...] | None = None


PRESETS: dict[str, Preset] = {
    "branchynet": Preset("conv", "entropy", "joint", "T", (1.6, 0.8, 0.4, 0.2, 0.1, 0.05), lr=0.01),
    "sdn": Preset(
        "pool",
        "confidence",
        "scratch",
        "q",
        (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99),
        exits=(0.15, 0.30, 0.45, 0.60, 0.75, 0.90),
    ),
    "msdnet_rule": Preset("conv2", "confidence", "scratch", "q", (0.1, 0.3, 0.6, 1.0, 1.5, 1.95)),
    "dg": Preset("linear", "margin", "frozen", "t", (-0.75, -0.5, 0.0, 0.5, 1.0, 1.5), lr=0.01),
    "bolukbasi": Preset("linear", "policy", "frozen", "lambda", (2.0, 1.0, 0.5, 0.2, 0.1)),
}
NEVER = "never"
"""The operating point at which nobody leaves: what training the exits did to the whole net."""


class EarlyExitConfig(MethodConfig):
    """None: as the preset has it."""

    preset: Name = "branchynet"
    exits: tuple[Share, ...] | None = Field(None, min_length=1)
    """Shares of the backbone's MACs after which an exit stands, rising: it stands behind the nearest block."""
    steps: tuple[float, ...] | None = Field(None, min_length=4)
    """Operating points, by rising cost: T, q, t or lambda. `never` is always added."""
    trunk: Literal["scratch", "frozen"] | None = None
    """Of sdn alone: trained with the exits from scratch, or frozen after the dense training."""
    head: Literal["published"] | None = None
    """Of branchynet alone: the heads of its ResNet-110, behind the stem and the first stage. They cost more than most
    of the trunk."""
    head_channels: PositiveInt = 32
    """Of convolutions in heads; MSDNet: 128."""
    weights: tuple[PositiveFloat, ...] | None = None
    """Of branchynet alone: of each exit's loss, and last of the whole net's. None: 1 each."""
    epochs: PositiveInt | None = None
    """Of the exits' training, where it starts from the dense backbone. None: the recipe's."""
    dense_epochs: PositiveInt | None = None
    """Start from a dense backbone that was trained for this many epochs. None: the recipe's."""
    lr: PositiveFloat | None = None
    """Learning rate of the exits' training."""

    @property
    def chosen(self) -> Preset:
        return PRESETS[self.preset]

    @property
    def trunk_is(self) -> Trunk:
        return self.trunk or self.chosen.trunk

    @property
    def values(self) -> tuple[float, ...]:
        """Of the operating points but the last."""
        return self.chosen.steps if self.steps is None else self.steps

    @property
    def point_names(self) -> tuple[str, ...]:
        return (*(f"{self.chosen.step}={value:g}" for value in self.values), NEVER)

    @model_validator(mode="after")
    def _only_where_it_means_something(self) -> "EarlyExitConfig":
        if self.trunk is not None and self.preset != "sdn":
            raise ValueError("trunk is only for preset: sdn")
        for key in ("head", "weights"):
            if getattr(self, key) is not None and self.preset != "branchynet":
                raise ValueError(f"{key} is only for preset: branchynet")
        if self.trunk_is == "scratch" and (self.epochs is not None or self.dense_epochs is not None):
            raise ValueError(f"{self.preset} is trained from scratch, for the recipe's epochs")
        if self.head is not None and self.exits is not None:
            raise ValueError("head: published has its own exits")
        return self

    @model_validator(mode="after")
    def _steps_fit_the_rule(self) -> "EarlyExitConfig":
        if len(set(self.point_names)) <= len(self.values):
            raise ValueError("steps: each operating point once")
        if self.exits is not None and list(self.exits) != sorted(set(self.exits)):
            raise ValueError("exits: rising shares of the MACs")
        if self.preset == "sdn" and not all(0 < value < 1 for value in self.values):
            raise ValueError("steps: q is a confidence, between 0 and 1")
        if self.preset != "dg" and min(self.values) <= 0:
            raise ValueError(f"steps: {self.chosen.step} is above 0")
        return self
