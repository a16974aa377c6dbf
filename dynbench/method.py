"""The plugin interface: everything a method is, and everything it may need. A method imports nothing else of dynbench.

A method is one class, registered under the entry-point group `dynbench.methods`. It says *what ran*; the
harness turns that into MACs, accuracy and time. Methods never grade themselves.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from dynbench.backbones import Backbone, ResidualBlock
from dynbench.backbones.removal import InnerConv, fit_filters, inner_convs, l1_norms, largest, rounded_up
from dynbench.backbones.residual import BasicBlock, Bottleneck, ResNet, SubsampleAndPad
from dynbench.cost import LayerCost, LayerUsage, dense_macs, evaluating, static_costs
from dynbench.executors import (
    ActiveRows,
    Decision,
    FoldedBackbone,
    FoldedBlock,
    FoldedConv,
    GatedExecutor,
    MaskedBlock,
    MaskedExecutor,
    PatchScores,
    PooledGate,
    PooledLinear,
    Switches,
    When,
    active_channels,
    hard_gate,
    join_rows,
    narrow_rows,
    open_rows,
    patches_of,
    positions_read,
    runs_per_image,
    spread,
    write_positions,
)
from dynbench.stage import Progress, Stage, lasting, make_optimizer, make_schedule, recipe_stage
from dynbench.suite.model import Model
from dynbench.suite.recipe import Adam, Constant, Cosine, OptimizerSpec, Recipe, Sgd, StepDecay
from dynbench.suite.schema import BackboneSpec

# What a method is.
__all__ = ["FromDense", "FromFile", "LayerUsage", "Method", "MethodConfig", "Output", "Point"]
# What it is given: backbones and recipes; and what it gives back to be trained by.
__all__ += ["Backbone", "BackboneSpec", "BasicBlock", "Bottleneck", "ResNet", "ResidualBlock", "SubsampleAndPad"]
__all__ += ["Adam", "Constant", "Cosine", "OptimizerSpec", "Recipe", "Sgd", "StepDecay"]
__all__ += ["Progress", "Stage", "lasting", "make_optimizer", "make_schedule", "recipe_stage"]
# Parts of executors: folded backbones, gates, and batches in which every image runs its own channels.
__all__ += ["FoldedBackbone", "FoldedBlock", "FoldedConv", "GatedExecutor", "PooledLinear"]
__all__ += ["Decision", "PooledGate", "Switches", "When", "active_channels"]
__all__ += ["ActiveRows", "join_rows", "narrow_rows", "open_rows", "runs_per_image"]
# Parts of executors that leave out positions of feature maps.
__all__ += ["MaskedBlock", "MaskedExecutor", "PatchScores", "hard_gate", "patches_of", "positions_read", "spread"]
__all__ += ["write_positions"]
# Removing filters for good, and what layers cost.
__all__ += ["InnerConv", "fit_filters", "inner_convs", "l1_norms", "largest", "rounded_up"]
__all__ += ["LayerCost", "dense_macs", "evaluating", "static_costs"]


class MethodConfig(Model):
    """Base of a method's parameters: typed, frozen, unknown keys refused."""


@dataclass(frozen=True)
class Output:
    """`logits` (batch, classes) and, by the layer's name in the model, what ran; unnamed layers ran whole."""

    logits: Tensor
    usage: Mapping[str, LayerUsage] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """An operating point of one trained model: a cost mode, a threshold, a width."""

    name: str = "default"


@dataclass(frozen=True)
class FromDense:
    """Start from the suite's trained dense backbone; its epochs and MACs count in this method's budget."""

    epochs: int | None = None
    """From one that was trained for this many epochs. None: the recipe's."""


@dataclass(frozen=True)
class FromFile:
    """Start from backbone weights in a file, trained for `epochs` epochs that count in the budget.

    `path` may also be one of torchvision's names, as `ResNet50_Weights.IMAGENET1K_V2`.
    """

    path: str
    epochs: int


class Method(ABC):
    """A way to spend less than the whole backbone on an image."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when a change of the code changes results: finished runs are then run again."""
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    static: ClassVar[bool] = False
    """Whether it spends the same on every image by its design: such nets are the controls that dynamic methods are
    compared with, and get none of their own."""

    def __init__(self, config: MethodConfig) -> None:
        self.config = config

    def unsupported(self, backbone: Backbone) -> str | None:  # noqa: ARG002
        """Return why this backbone cannot be used, or None."""
        return None

    def backbone(self, spec: BackboneSpec) -> BackboneSpec:
        """Return the backbone this method wants, given the suite's."""
        return spec

    def start(self) -> FromDense | FromFile | None:
        """Return where the backbone's weights come from; None: random initialisation."""
        return None

    @abstractmethod
    def build(self, backbone: Backbone) -> nn.Module:
        """Return the model, holding `backbone`; as its attribute `backbone`, if it holds other backbones too.

        Layers outside are counted as gates. `model(x)` runs every layer as often as it can run at most, so that the
        static cost of each can be read from it.
        """

    def restore(self, backbone: Backbone, weights: Mapping[str, Tensor]) -> nn.Module:  # noqa: ARG002
        """Return a model that the trained `weights` (its state, by name) fit into; they are loaded afterwards.

        Default: as built. Override it where stages change shapes (pruning): they are not run again to time or evaluate.
        """
        return self.build(backbone)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:  # noqa: ARG002
        """Training loss (scalar) of images `x` (batch, channels, height, width), labels `y` (batch,)."""
        return nn.functional.cross_entropy(model(x), y, label_smoothing=recipe.label_smoothing)

    def learning_rates(self, model: nn.Module) -> Mapping[str, float]:  # noqa: ARG002
        """Learning rate by parameter name prefix, where it is not the recipe's."""
        return {}

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        """Return what to train, and for how long. Default: one stage with the suite's recipe."""
        return [recipe_stage(self, recipe)]

    def calibrates(self) -> bool:
        """Return whether `calibrate` is to be called.

        Half of the validation split is then set aside for it, and no figure is read from that half. Default: where
        `calibrate` is overridden.
        """
        return type(self).calibrate is not Method.calibrate

    def calibrate(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:  # noqa: B027
        """Set after the last stage what is chosen on images that training has not seen: thresholds, statistics.

        They go into the model's buffers; parameters stay as they are. `images` (n, channels, height, width) are
        normalised and not augmented, `labels` int64 (n,); `model` is in evaluation mode. What it computes counts in the
        budget.
        """

    def points(self, model: nn.Module) -> Sequence[Point]:  # noqa: ARG002
        """Operating points of the trained model. The first one is shown while training."""
        return [Point()]

    @abstractmethod
    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        """Return one output for each of `points` on images `x` (batch, channels, height, width).

        Batched, masks allowed, never timed.
        """

    def executor(self, model: nn.Module, point: Point) -> nn.Module | None:  # noqa: ARG002
        """Return a module that maps images to logits and really skips: the one that is timed. None: simulated."""
        return None
