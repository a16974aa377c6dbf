"""What a run will cost, told before it starts. Builds each model, trains nothing."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dynbench.backbones import build_backbone
from dynbench.cost import dense_macs, static_costs
from dynbench.data import Shape, dataset_info
from dynbench.errors import UserError
from dynbench.plan import Run
from dynbench.train.budget import training_macs
from dynbench.train.edit import apply_edits

IMAGES = 16


@dataclass(frozen=True)
class Estimate:
    """`macs_dense`: one image through the suite's dense backbone. `macs`: one image through this run's model with
    everything on, after every stage's edit. `train_macs`: all of the training that this run does itself, measured on
    one step's shapes; what it starts from is its own run, or in `pretrained_epochs`."""

    run: Run
    macs_dense: int
    macs: int
    epochs: int
    pretrained_epochs: int
    train_macs: int


def _noise(shape: Shape, count: int) -> Tensor:
    """In place of training images, which may not be there; a few will do."""
    return torch.randn(min(count, IMAGES), *shape, generator=torch.Generator().manual_seed(0))


def estimate(run: Run) -> Estimate:
    """Raises UserError when the method does not support the backbone or either is misnamed."""
    info = dataset_info(run.data.name)
    method = run.make_method()
    backbone = build_backbone(run.built, info.shape, info.num_classes)
    reason = method.unsupported(backbone)
    if reason is not None:
        raise UserError(f"{run.method} does not support {run.built.name}: {reason}")
    reference = dense_macs(build_backbone(run.backbone, info.shape, info.num_classes))
    model = method.build(backbone)
    images = info.training_images - (run.data.validation or info.validation)
    images -= images % min(run.recipe.batch_size, images)  # the last, smaller batch is left out
    epochs = train_macs = 0
    for stage in method.stages(run.recipe):
        apply_edits(stage, model, partial(_noise, info.shape))
        epochs += stage.epochs
        train_macs += stage.epochs * images * training_macs(stage, model, info.shape, info.num_classes)
    whole = sum(layer.macs for layer in static_costs(model, info.shape))
    pretrained = run.start.epochs if run.start else 0
    return Estimate(run, reference, whole, epochs, pretrained, train_macs)
