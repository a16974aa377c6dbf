"""Models of finished runs, with their trained weights."""

from pathlib import Path

import torch
from torch import nn

from dynbench.backbones import build_backbone
from dynbench.backbones.weights import load_weights, read_weights
from dynbench.context import Context
from dynbench.data import Shape
from dynbench.data.split import Data
from dynbench.device import on_device
from dynbench.errors import UserError
from dynbench.guards.model_changes import steps_are
from dynbench.guards.side_effects import watched
from dynbench.method import Method
from dynbench.plan.run import Run, derived_seed
from dynbench.recipe.initialisation import initialise


def data_for(method: Method, data: Data) -> Data:
    """Return the data as the method's runs have them.

    With half of the validation split set aside where it calibrates.
    """
    return data.with_calibration() if method.calibrates() else data


def build_model(run: Run, method: Method, data: Data, context: Context) -> nn.Module:
    """Return the run's model before training, with the weights it starts from.

    Raises UserError when they do not fit.
    """
    torch.manual_seed(derived_seed(run.seed, "init"))
    backbone = build_backbone(run.built, data.shape, data.num_classes)
    with watched("while it looked at the backbone"):
        reason = method.unsupported(backbone)
    if reason is not None:
        raise UserError(f"{run.method} does not support {run.built.name}: {reason}")
    if run.start is None:
        initialise(backbone, run.recipe)
    else:
        load_weights(backbone, _start_weights(run, context))
    with watched("while it was built"), steps_are(0, "while it was built"):
        model = method.build(backbone)
    return on_device(model, context.device, run.recipe.channels_last)


def _start_weights(run: Run, context: Context) -> Path:
    assert run.start is not None
    return Path(run.start.file) if run.start.file else context.weights(run.start.run_id or "")


def restored_model(run: Run, method: Method, shape: Shape, classes: int, weights: Path) -> nn.Module:
    """Return the run's trained model, for images of `shape`. Raises UserError when the weights do not fit."""
    state, backbone = read_weights(weights), build_backbone(run.built, shape, classes)
    try:
        model = method.restore(backbone, state)
    except UserError:
        raise
    except Exception as error:  # a method takes shapes from weights, and these may be anybody's
        raise UserError(
            f"weights {weights} do not fit {run.method}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from error
    load_weights(model, weights)
    return model
