"""Gates that decide at random, on each image otherwise."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

SPREAD = 3.0
"""Standard deviation of the scores over images: enough for a softmax to be sure of some."""


@torch.no_grad()
def with_random_gates(model: nn.Module, layers: Sequence[str], run: Callable[[nn.Module], object]) -> nn.Module | None:
    """Return a copy of `model` in which those of `layers` that are linear give random scores.

    Their mean is 0 over the images that `run` puts through it. None: there are no such layers.
    """
    copy = deepcopy(model)
    linear = [layer for layer in map(copy.get_submodule, layers) if isinstance(layer, nn.Linear)]
    if not linear:
        return None
    generator = torch.Generator().manual_seed(0)
    for layer in linear:
        layer.weight.normal_(std=0.5, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
    for layer, scores in _scores(copy, linear, run).items():
        scale = SPREAD / scores.std(0).clamp(min=1e-3)
        layer.weight.mul_(scale[:, None])
        if layer.bias is not None:
            layer.bias.copy_(-scale * scores.mean(0))
    return copy


def _scores(
    model: nn.Module, layers: Sequence[nn.Linear], run: Callable[[nn.Module], object]
) -> dict[nn.Linear, Tensor]:
    """What each layer gives, (n, outputs); those that `run` does not call are left out."""
    seen: dict[nn.Linear, list[Tensor]] = {}

    def note(layer: nn.Linear, _: object, scores: Tensor) -> None:
        seen.setdefault(layer, []).append(scores.flatten(0, -2))

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        run(model)
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: torch.cat(parts) for layer, parts in seen.items()}
