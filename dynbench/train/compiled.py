"""A stage's loss, compiled as the recipe wants it."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from dynbench.method import Progress

Loss = Callable[[nn.Module, Tensor, Tensor, Progress], Tensor]


def compiled(loss: Loss, mode: bool | Literal["reduce-overhead", "max-autotune"]) -> Loss:
    """`loss`, with True or a mode under `torch.compile`. A mode records CUDA graphs on a GPU: what a call gives, its
    gradients included, is then overwritten by the next one."""
    if not mode:
        return loss
    if mode is True:
        return torch.compile(loss)
    recorded = torch.compile(loss, mode=mode)

    def step(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return recorded(model, x, y, progress)

    return step
