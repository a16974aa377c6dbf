"""What a run writes, told before it starts: weights, checkpoints, per-image results."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from dynbench.measure import AUDITED_IMAGES
from dynbench.method import Stage

IMAGE_BYTES = 10
"""Of one test image at one operating point, before compression: its MACs, and whether it is right, twice."""
EPOCH_BYTES, LAYER_BYTES, RECORD_BYTES = 250, 150, 8000
"""Of a record's JSON: an epoch of its history, a layer at an operating point, and the rest."""


@dataclass(frozen=True)
class DiskNeeds:
    """Bytes. `kept`: weights, record and per-image arrays of the finished run. `working`: checkpoints and weights
    between stages at their most, which are deleted when it has finished. Plots and MLflow's database come on top."""

    kept: int
    working: int


def state_bytes(model: nn.Module) -> int:
    """Of the model's parameters and buffers, as they are stored."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def checkpoint_bytes(stage: Stage, model: nn.Module) -> int:
    """Of a checkpoint in `stage`: the model's state and its optimizer's, which a step on a copy brings about."""
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
    """The most that lies there at once, of the checkpoints and the states after each stage: a checkpoint and the one
    that replaces it, and the states of the stages before."""
    return max((2 * one + sum(states[:index]) for index, one in enumerate(checkpoints)), default=0)


def kept_bytes(model: nn.Module, images: int, classes: int, points: int, layers: int, epochs: int) -> int:
    """Of a finished run with `images` test images and `layers` layers that have MACs."""
    arrays = points * (images * IMAGE_BYTES + AUDITED_IMAGES * classes * 4)
    return state_bytes(model) + arrays + epochs * EPOCH_BYTES + points * layers * LAYER_BYTES + RECORD_BYTES
