"""What a run will cost, told before it starts. Builds each model, trains nothing."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dynbench.backbones import build_backbone
from dynbench.cost import dense_macs, static_costs
from dynbench.data import DatasetInfo, Shape, dataset_info
from dynbench.disk import DiskNeeds, checkpoint_bytes, kept_bytes, state_bytes, working_bytes
from dynbench.errors import UserError
from dynbench.method import Method
from dynbench.plan import Run
from dynbench.registry import load
from dynbench.train.budget import assumed_training_macs, training_macs
from dynbench.train.edit import apply_edits

IMAGES = 16


@dataclass(frozen=True)
class StageEstimate:
    """A part of the training; its MACs are measured on one step's shapes. `checkpoint` and `state`: bytes of a
    checkpoint in it, and of the weights after it."""

    name: str
    epochs: int
    train_macs: int
    checkpoint: int = 0
    state: int = 0


@dataclass(frozen=True)
class Estimate:
    """`macs_dense`: one image through the suite's dense backbone. `macs`: one image through this run's model with
    everything on, after every stage's edit; `macs_control` of these are its control nets'. `stages`: the training that
    this run does itself; `pretrained`: that of what it starts from. `disk`: what it writes."""

    run: Run
    macs_dense: int
    macs: int
    macs_control: int
    disk: DiskNeeds
    stages: tuple[StageEstimate, ...]
    pretrained: tuple[StageEstimate, ...]

    @property
    def own_train_macs(self) -> int:
        return sum(stage.train_macs for stage in self.stages)

    @property
    def pretrained_train_macs(self) -> int:
        return sum(stage.train_macs for stage in self.pretrained)

    @property
    def train_macs(self) -> int:
        """Everything pre-trained included."""
        return self.own_train_macs + self.pretrained_train_macs

    @property
    def epochs(self) -> int:
        """Everything pre-trained included."""
        return sum(stage.epochs for stage in (*self.pretrained, *self.stages))


def estimate(run: Run) -> Estimate:
    """Raises UserError when the method does not support the backbone or either is misnamed."""
    info = dataset_info(run.data)
    method = run.make_method()
    backbone = build_backbone(run.built, info.shape, info.num_classes)
    reason = method.unsupported(backbone)
    if reason is not None:
        raise UserError(f"{run.method} does not support {run.built.name}: {reason}")
    reference = dense_macs(build_backbone(run.backbone, info.shape, info.num_classes))
    model = method.build(backbone)
    stages = _stages(run, method, model, info)
    layers = static_costs(model, info.shape)
    epochs, points = sum(stage.epochs for stage in stages), len(method.points(model))
    kept = kept_bytes(model, info.test_images, info.num_classes, points, len(layers), epochs)
    working = working_bytes([one.checkpoint for one in stages], [one.state for one in stages])
    return Estimate(
        run,
        reference,
        sum(layer.macs for layer in layers),
        sum(layer.macs for layer in layers if layer.kind == "control"),
        DiskNeeds(kept, working),
        stages,
        _pretrained(run, info),
    )


def _stages(run: Run, method: Method, model: nn.Module, info: DatasetInfo) -> tuple[StageEstimate, ...]:
    """Of the training of `model`, which every stage's edit changes on the way."""
    images = epoch_images(run, info)
    found = []
    for stage in method.stages(run.recipe):
        apply_edits(stage, model, partial(noise, info.shape))
        macs = training_macs(stage, model, info.shape, info.num_classes)
        bytes_ = checkpoint_bytes(stage, model), state_bytes(model)
        found.append(StageEstimate(stage.name, stage.epochs, stage.epochs * images * macs, *bytes_))
    return tuple(found)


def noise(shape: Shape, count: int) -> Tensor:
    """In place of training images, which may not be there; a few will do."""
    return torch.randn(min(count, IMAGES), *shape, generator=torch.Generator().manual_seed(0))


def _pretrained(run: Run, info: DatasetInfo) -> tuple[StageEstimate, ...]:
    """The training of the weights that the run starts from: the suite's dense backbone, or a file."""
    if run.start is None:
        return ()
    if run.start.run_id is None:
        macs = dense_macs(build_backbone(run.built, info.shape, info.num_classes))
        macs = assumed_training_macs(run.start.epochs * run_images(run, info), macs)
        return (StageEstimate("file", run.start.epochs, macs),)
    dense = load("dense")(load("dense").Config.model_validate({"epochs": run.start.epochs}))
    return _stages(run, dense, build_backbone(run.backbone, info.shape, info.num_classes), info)


def epoch_images(run: Run, info: DatasetInfo) -> int:
    """Of one epoch: the last, smaller batch is left out."""
    images = run_images(run, info)
    return images - images % min(run.recipe.batch_size, images)


def run_images(run: Run, info: DatasetInfo) -> int:
    """That it trains on: those held out for validation are left out."""
    return info.training_images - (run.data.validation or info.validation)
