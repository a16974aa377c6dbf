"""The backbone itself, at any width: the reference, and the MAC-matched static control."""

from collections.abc import Sequence
from typing import cast

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from dynbench.method import (
    Backbone,
    BackboneSpec,
    FoldedBackbone,
    Method,
    MethodConfig,
    Output,
    Point,
    Recipe,
    Stage,
    lasting,
)


class DenseConfig(MethodConfig):
    """Parameters of the dense backbone."""

    width: PositiveFloat = 1.0
    """Multiplies the width of the suite's backbone; MACs grow with about its square."""
    epochs: PositiveInt | None = None
    """Train for this many epochs, by the recipe's schedule; None: the recipe's."""


class Dense(Method):
    """A static net that spends the same on every image."""

    name = "dense"
    Config = DenseConfig
    static = True
    config: DenseConfig

    def backbone(self, spec: BackboneSpec) -> BackboneSpec:
        return spec.model_copy(update={"width": spec.width * self.config.width})

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        return super().stages(lasting(recipe, self.config.epochs))

    def build(self, backbone: Backbone) -> nn.Module:
        return backbone

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        return [Output(model(x)) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:  # noqa: ARG002
        return FoldedBackbone(cast("Backbone", model))
