"""What a run will cost, told before it starts. Builds each model, trains nothing."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dynbench.backbones import build_backbone
from dynbench.cost import dense_macs, static_costs
from dynbench.data import DatasetInfo, Shape, dataset_info
from dynbench.errors import UserError
from dynbench.evaluation.audit import AUDITED_IMAGES
from dynbench.method import Method
from dynbench.plan.run import Run
from dynbench.recipe.resizing import epoch_sides
from dynbench.record.schema import Record
from dynbench.registry import load_method
from dynbench.stage import Stage, apply_edits
from dynbench.train.budget import assumed_training_macs, image_macs

IMAGE_BYTES = 10
"""Of one test image at one operating point, before compression: its MACs, and whether it is right, twice."""
EPOCH_BYTES, LAYER_BYTES, RECORD_BYTES = 250, 150, 8000
"""Of a record's JSON: an epoch of its history, a layer at an operating point, and the rest."""


@dataclass(frozen=True)
class DiskNeeds:
    """Bytes.

    `kept`: weights, record and per-image arrays of the finished run. `working`: checkpoints and weights between stages
    at their most, which are deleted when it has finished. Plots and MLflow's database come on top.
    """

    kept: int
    working: int


def state_bytes(model: nn.Module) -> int:
    """Return the bytes of the model's parameters and buffers, as they are stored."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def checkpoint_bytes(stage: Stage, model: nn.Module) -> int:
    """Return the bytes of a checkpoint in `stage`.

    The model's state and its optimizer's, which a step on a copy brings about.
    """
    copy = deepcopy(model)
    optimizer = stage.optimizer(copy)
    for parameter in copy.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = optimizer.state_dict()["state"].values()
    tensors = [value for one in state for value in one.values() if isinstance(value, torch.Tensor)]
    return state_bytes(model) + sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def working_bytes(checkpoints: Sequence[int], states: Sequence[int]) -> int:
    """Return the most that lies there at once, of the checkpoints and the states after each stage.

    A checkpoint and the one that replaces it, and the states of the stages before.
    """
    return max((2 * one + sum(states[:index]) for index, one in enumerate(checkpoints)), default=0)


def kept_bytes(model: nn.Module, images: int, classes: int, points: int, layers: int, epochs: int) -> int:
    """Return the bytes that are kept of a finished run with `images` test images and `layers` layers that have MACs."""
    arrays = points * (images * IMAGE_BYTES + AUDITED_IMAGES * classes * 4)
    return state_bytes(model) + arrays + epochs * EPOCH_BYTES + points * layers * LAYER_BYTES + RECORD_BYTES


NOISE_IMAGES = 16


@dataclass(frozen=True)
class StageEstimate:
    """A part of the training; its MACs are measured on one step's shapes.

    `checkpoint` and `state`: bytes of a checkpoint in it, and of the weights after it.
    """

    name: str
    epochs: int
    train_macs: int
    checkpoint: int = 0
    state: int = 0


@dataclass(frozen=True)
class CostEstimate:
    """`macs_dense`: one image through the suite's dense backbone.

    `macs`: one image through this run's model with everything on, after every stage's edit; `macs_control` of these are
    its gates'. `stages`: the training that this run does itself; `pretrained`: that of what it starts from. `disk`:
    what it writes.
    """

    run: Run
    macs_dense: int
    macs: int
    macs_control: int
    disk: DiskNeeds
    stages: tuple[StageEstimate, ...]
    pretrained: tuple[StageEstimate, ...]

    @property
    def own_train_macs(self) -> int:
        """Return the training MACs of the run's own stages."""
        return sum(stage.train_macs for stage in self.stages)

    @property
    def pretrained_train_macs(self) -> int:
        """Return the training MACs of what the run starts from."""
        return sum(stage.train_macs for stage in self.pretrained)

    @property
    def train_macs(self) -> int:
        """Everything pre-trained included."""
        return self.own_train_macs + self.pretrained_train_macs

    @property
    def epochs(self) -> int:
        """Everything pre-trained included."""
        return sum(stage.epochs for stage in (*self.pretrained, *self.stages))


def estimate_cost(run: Run) -> CostEstimate:
    """Estimate what a run costs.

    Raises UserError when the method does not support the backbone or either is misnamed.
    """
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
    return CostEstimate(
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
        if not stage.epochs:
            found.append(StageEstimate(stage.name, 0, 0, 0, state_bytes(model)))
            continue
        batch = min(run.recipe.batch_size, run_images(run, info))
        macs = image_macs(stage, model, info.shape, info.num_classes, run.recipe, batch)
        sides = epoch_sides(run.recipe.progressive_resizing, stage.epochs, info.shape[1])
        trained = images * sum(map(macs.at, sides)) + _averaging_macs(run, model, info)
        bytes_ = checkpoint_bytes(stage, model), state_bytes(model)
        found.append(StageEstimate(stage.name, stage.epochs, trained, *bytes_))
    return tuple(found)


def _averaging_macs(run: Run, model: nn.Module, info: DatasetInfo) -> int:
    """Of the forward passes that BN statistics of averaged weights are taken from."""
    averaging = run.recipe.averaging
    if averaging is None:
        return 0
    whole = sum(layer.macs for layer in static_costs(model, info.shape))
    return whole * min(averaging.bn_images, run_images(run, info))


def noise(shape: Shape, count: int) -> Tensor:
    """Return noise in place of training images, which may not be there; a few will do."""
    return torch.randn(min(count, NOISE_IMAGES), *shape, generator=torch.Generator().manual_seed(0))


def _pretrained(run: Run, info: DatasetInfo) -> tuple[StageEstimate, ...]:
    """The training of the weights that the run starts from: the suite's dense backbone, or a file."""
    if run.start is None:
        return ()
    if run.start.run_id is None:
        macs = dense_macs(build_backbone(run.built, info.shape, info.num_classes))
        macs = assumed_training_macs(run.start.epochs * run_images(run, info), macs)
        return (StageEstimate("file", run.start.epochs, macs),)
    dense = load_method("dense")(load_method("dense").Config.model_validate({"epochs": run.start.epochs}))
    return _stages(run, dense, build_backbone(run.backbone, info.shape, info.num_classes), info)


def epoch_images(run: Run, info: DatasetInfo) -> int:
    """Return the images of one epoch; the last, smaller batch is left out."""
    images = run_images(run, info)
    return images - images % min(run.recipe.batch_size, images)


def run_images(run: Run, info: DatasetInfo) -> int:
    """That it trains on: those held out for validation are left out."""
    return info.training_images - (run.data.validation or info.validation)


def recorded_cost(record: Record) -> CostEstimate:
    """Return what a finished run has cost, as its record says: it needs no estimate, and writes nothing any more."""
    layers = record.points[0].layers
    own, pretrained = (
        tuple(StageEstimate(stage.name, stage.epochs, stage.train_macs) for stage in stages)
        for stages in (record.budget.stages, record.budget.pretrained)
    )
    return CostEstimate(
        record.run,
        record.macs_dense,
        sum(layer.macs for layer in layers),
        sum(layer.macs for layer in layers if layer.kind == "control"),
        DiskNeeds(0, 0),
        own,
        pretrained,
    )
