"""What training costs: MACs of an image's forward and backward pass, as they are dispatched; assumed, for training that
was done elsewhere."""

from copy import deepcopy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dynbench.stage import Progress, Stage

IMAGES = 2  # BN needs more than one


def training_macs(
    stage: Stage, model: nn.Module, shape: tuple[int, int, int], classes: int, fraction: float = 0.0
) -> int:
    """MACs of one training image of `shape` (channels, height, width) after a `fraction` of `stage`: loss and its
    gradients, frozen parts not counted. Measured with torch's FLOP counter (2 per MAC) on a copy of the model."""
    copy = deepcopy(model).train()
    device = next(copy.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(IMAGES, *shape, generator=generator).to(device)
    y = torch.randint(classes, (IMAGES,), generator=generator).to(device)
    with torch.random.fork_rng(), FlopCounterMode(display=False) as counter:
        torch.manual_seed(0)  # a loss may sample what it runs
        stage.loss(copy, x, y, Progress(int(fraction * stage.epochs), stage.epochs, fraction)).backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops()) // (2 * IMAGES)


def assumed_training_macs(images: int, macs: int) -> int:
    """MACs of a training that was not seen, on `images` images of `macs` each: a forward pass, and a backward pass of
    twice its cost."""
    return 3 * images * macs
