"""What LAUDNet is told."""

from collections.abc import Sized
from typing import Literal, cast

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from dynbench_methods.from_dense import FromDenseConfig

Mode = Literal["layer", "channel", "spatial", "both", "none"]
"""Of a stage. both: spatial and channel. none: its blocks run whole."""


class LaudNetConfig(FromDenseConfig):
    """Where a value is a list, it has an entry for each stage, or one for all of them."""

    modes: tuple[Mode, ...] = Field(("layer",), min_length=1)
    granularity: tuple[PositiveInt, ...] = Field((4, 4, 2, 1), min_length=1)
    """S, the side of a patch in output pixels: of spatial stages. Four entries serve nets of three stages too."""
    group: tuple[PositiveInt, ...] = Field((1,), min_length=1)
    """G neighbouring channels share one score: of channel stages."""
    masker_layers: Literal[1, 2] = 2
    """Linear layers of a channel masker."""
    target: float = Field(0.5, gt=0, le=1)
    """t, the share of the dense net's MACs that is trained for, maskers included."""
    cost_weight: NonNegativeFloat = 10.0
    """Of the target and bounds terms in the loss."""
    bounds: float = Field(0.33, ge=0, le=1)
    """Share of the epochs over which the bounds of each block's cost open from the target to [0, 1]."""
    distillation: NonNegativeFloat = 0.5
    """Weight of the distance from the dense net that it starts from; 0: no teacher."""
    temperature: PositiveFloat = 4.0
    """Of the distillation."""
    tau_first: PositiveFloat = 5.0
    """Temperature of the gates at the start."""
    tau_last: PositiveFloat = 0.1
    """At the end; it falls exponentially."""
    lr: PositiveFloat | None = 0.02
    """Learning rate of an SGD recipe. None: the recipe's."""

    @model_validator(mode="after")
    def _means_something(self) -> "LaudNetConfig":
        if self.tau_last > self.tau_first:
            raise ValueError("tau_last is above tau_first; the gates' temperature falls")
        if set(self.modes) == {"none"}:
            raise ValueError("modes: no stage skips anything")
        return self

    def of_stage(self, stage: int) -> tuple[Mode, int, int]:
        """Mode, granularity and group of a stage, counted from 0."""
        mode, side, group = (
            values[min(stage, len(values) - 1)] for values in (self.modes, self.granularity, self.group)
        )
        return cast("Mode", mode), cast("int", side), cast("int", group)

    def lengths(self) -> dict[str, int]:
        """Return the lengths of the lists that have an entry for each stage and say something in one of these modes."""
        modes = set(self.modes)
        lists: dict[str, Sized] = {"modes": self.modes}
        if modes & {"spatial", "both"}:
            lists["granularity"] = self.granularity
        if modes & {"channel", "both"}:
            lists["group"] = self.group
        return {name: len(values) for name, values in lists.items() if len(values) > 1}
