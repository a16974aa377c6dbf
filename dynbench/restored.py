"""Models of finished runs, with their trained weights."""

from pathlib import Path

from torch import nn

from dynbench.backbones import build_backbone
from dynbench.backbones.weights import load_weights, read_weights
from dynbench.data import Shape
from dynbench.method import Method
from dynbench.plan import Run


def restored(run: Run, method: Method, shape: Shape, classes: int, weights: Path) -> nn.Module:
    """The run's trained model, for images of `shape`. Raises UserError when the weights do not fit."""
    model = method.restore(build_backbone(run.built, shape, classes), read_weights(weights))
    load_weights(model, weights)
    return model
