"""Control nets that decide at random, on each image otherwise."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

SPREAD = 3.0
"""Standard deviation of the scores over images: enough for a softmax to be sure of some."""


@torch.no_grad()
def with_random_controls(
    model: nn.Module, layers: Sequence[str], run: Callable[[nn.Module], object]
) -> nn.Module | None:
    """A copy of `model` in which those of `layers` that are linear give random scores of mean 0 over the images that
    `run` puts through it. None: there are no such layers."""
    copy = deepcopy(model)
    linear = [layer for layer in map(copy.get_submodule, layers) if isinstance(layer, nn.Linear)]
    if not linear:
        return None
    seen = _inputs(copy, linear, run)
    generator = torch.Generator().manual_seed(0)
    for layer in linear:
        layer.weight.normal_(std=0.5, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
        if layer in seen:
            _standardise(layer, seen[layer])
    return copy


def _inputs(
    model: nn.Module, layers: Sequence[nn.Module], run: Callable[[nn.Module], object]
) -> dict[nn.Module, Tensor]:
    """What each layer was given: (n, features)."""
    seen: dict[nn.Module, list[Tensor]] = {}

    def note(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.setdefault(layer, []).append(arguments[0].flatten(0, -2))

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        run(model)
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: torch.cat(parts) for layer, parts in seen.items()}


def _standardise(layer: nn.Linear, x: Tensor) -> None:
    """Give the layer's scores of x (n, features) mean 0 and standard deviation `SPREAD` each."""
    scores = layer(x)
    layer.weight.mul_((SPREAD / scores.std(0).clamp(min=1e-3))[:, None])
    if layer.bias is not None:
        layer.bias.copy_(-(x @ layer.weight.T).mean(0))
