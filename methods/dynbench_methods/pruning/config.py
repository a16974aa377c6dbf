"""What static pruning methods are told: how much to remove, where to start from, how to retrain."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from dynbench.method import Constant, Recipe, lasting
from dynbench_methods.from_dense import StartConfig

Share = Annotated[float, Field(ge=0, lt=1)]
"""Of a layer's filters, to be removed."""


class PruningConfig(StartConfig):
    """Parameters that the static pruning methods share."""

    ratios: Share | tuple[Share, ...] | None = None
    """Share of each layer's filters that is removed, one for each of the backbone's stages or one for all; rounded up
    to whole filters, but one is left. None, without `macs`: a half."""
    macs: float | None = Field(None, gt=0, le=1)
    """Prune to this share of the dense backbone's MACs, in place of given ratios: the same for all layers."""
    skip: tuple[int, ...] = ()
    """Layers that are left whole, by Li et al.'s numbers: the stem is 1, then the branches' convolutions in order."""
    epochs: PositiveInt = 40
    """Of retraining."""
    lr: PositiveFloat | None = 1e-3
    """Constant learning rate of retraining, without warm-up; the optimizer is the recipe's otherwise. None: the
    recipe's learning rate and schedule over `epochs` (learning-rate rewinding, Renda et al., arXiv 2003.02389)."""

    @model_validator(mode="after")
    def _ratios_or_macs(self) -> "PruningConfig":
        if self.ratios is not None and self.macs is not None:
            raise ValueError("give ratios or macs, not both")
        return self


def retraining_recipe(recipe: Recipe, config: PruningConfig) -> Recipe:
    """Return the suite's recipe over the epochs of retraining: rewound, or at a constant learning rate."""
    if config.lr is None:
        return lasting(recipe, config.epochs)
    optimizer = recipe.optimizer.model_copy(update={"lr": config.lr})
    constant = {"schedule": Constant(name="constant"), "warmup_epochs": 0.0}
    return recipe.model_copy(update={"epochs": config.epochs, "optimizer": optimizer, **constant})
