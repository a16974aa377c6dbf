"""What static pruning methods are told: how much to remove, where to start from, how to retrain."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from dynbench.method import Constant, MethodConfig, Recipe, lasting

Share = Annotated[float, Field(ge=0, lt=1)]
"""Of a layer's filters, to be removed."""


class PruningConfig(MethodConfig):
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
    init: str = "dense"
    """dense (the suite's trained dense backbone), or backbone weights: a file, or a name of torchvision's."""
    init_epochs: int | None = Field(None, ge=0)
    """Epochs that a file's weights were trained for; they count in the budget."""
    dense_epochs: PositiveInt | None = None
    """Start from a dense backbone that was trained for this many epochs. None: the recipe's."""

    @model_validator(mode="after")
    def _one_start(self) -> "PruningConfig":
        if (self.init != "dense") != (self.init_epochs is not None):
            raise ValueError("init_epochs is only for weights from a file, and must be given for them")
        if self.init != "dense" and self.dense_epochs is not None:
            raise ValueError("dense_epochs is only for init: dense")
        return self

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
