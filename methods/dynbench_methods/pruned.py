"""Static pruning: what L1 filter pruning and NISP share. Filters are removed once, then the small net is retrained."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, cast

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.backbones.removal import InnerConv, fit_filters, inner_convs
from dynbench.executors import FoldedBackbone
from dynbench.method import FromDense, FromFile, Method, MethodConfig, Output, Point, Stage
from dynbench.suite.schema import Constant, Recipe
from dynbench.train.stage import lasting, recipe_stage
from dynbench_methods.mac_target import PrunedMacs

Share = Annotated[float, Field(ge=0, lt=1)]
"""Of a layer's filters, to be removed."""


class PruningConfig(MethodConfig):
    macs: float | None = Field(None, gt=0, le=1)
    """Prune to this share of the dense backbone's MACs, in place of a given share of the filters."""
    skip: tuple[int, ...] = ()
    """Layers that are left whole, by Li et al.'s numbers: the stem is 1, then the branches' convolutions in order."""
    epochs: PositiveInt = 40
    """Of retraining."""
    lr: PositiveFloat | None = 1e-3
    """Constant learning rate of retraining, without warm-up; the optimizer is the recipe's otherwise. None: the
    recipe's learning rate and schedule over `epochs` (learning-rate rewinding, Renda et al., arXiv 2003.02389)."""
    init: str = "dense"
    """dense (the suite's trained dense backbone), or a file of backbone weights."""
    init_epochs: int | None = Field(None, ge=0)
    """Epochs that a file's weights were trained for; they count in the budget."""
    dense_epochs: PositiveInt | None = None
    """Start from a dense backbone that was trained for so many epochs. None: the recipe's."""

    @model_validator(mode="after")
    def _one_start(self) -> "PruningConfig":
        if (self.init != "dense") != (self.init_epochs is not None):
            raise ValueError("init_epochs goes with weights from a file, and must be given for them")
        if self.init != "dense" and self.dense_epochs is not None:
            raise ValueError("dense_epochs goes with init: dense")
        return self


class StaticPruning(Method):
    """A backbone that is pruned, in one go, before its only stage of training: the same small net for every image."""

    static = True
    config: PruningConfig

    def unsupported(self, backbone: Backbone) -> str | None:
        layers = list(inner_convs(backbone))
        known = {layer.number: layer for layer in layers}
        unknown = [number for number in self.config.skip if number not in known]
        if unknown:
            return f"skip: layer {unknown[0]} is none of which filters are removed ({', '.join(map(str, known))})"
        if any(layer.conv.groups > 1 or layer.reader.groups > 1 for layer in layers):
            return "filters of grouped convolutions cannot be removed one by one"
        return None if self.config.macs is None else self._out_of_reach(backbone, self.config.macs)

    def _out_of_reach(self, backbone: Backbone, share: float) -> str | None:
        macs = PrunedMacs(backbone)
        least = macs.least(layer.name for layer in self.prunable(backbone)) / macs.dense
        if share >= least:
            return None
        return f"macs: {least:.3g} of the dense MACs is the least, with a filter left in each layer"

    def prunable(self, backbone: Backbone) -> list[InnerConv]:
        """The layers of which filters are removed, in order."""
        return [layer for layer in inner_convs(backbone) if layer.number not in self.config.skip]

    def start(self) -> FromDense | FromFile:
        if self.config.init_epochs is not None:
            return FromFile(self.config.init, self.config.init_epochs)
        return FromDense(self.config.dense_epochs)

    def build(self, backbone: Backbone) -> nn.Module:
        return backbone

    def restore(self, backbone: Backbone, weights: Mapping[str, Tensor]) -> nn.Module:
        fit_filters(backbone, weights)
        return backbone

    @abstractmethod
    def retraining(self, stage: Stage) -> Stage:
        """The stage with the pruning before it."""

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        return [self.retraining(recipe_stage(self, retraining_recipe(recipe, self.config), "retrain"))]

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        logits = model(x)
        return [Output(logits) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:  # noqa: ARG002
        return FoldedBackbone(cast("Backbone", model))


def retraining_recipe(recipe: Recipe, config: PruningConfig) -> Recipe:
    """The suite's recipe over the epochs of retraining: rewound, or at a constant learning rate."""
    if config.lr is None:
        return lasting(recipe, config.epochs)
    optimizer = recipe.optimizer.model_copy(update={"lr": config.lr})
    constant = {"schedule": Constant(name="constant"), "warmup_epochs": 0.0}
    return recipe.model_copy(update={"epochs": config.epochs, "optimizer": optimizer, **constant})
