"""Multiply-accumulates (MACs): what every layer costs whole, and what it cost each image.

One MAC is one multiplication and one addition; BN, activations, pooling and biases are not counted, which is
the convention of the published figures. Products of two activations (attention, `matmul`, `einsum`) are.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.counter.static import macs_by_module

Kind = Literal["backbone", "shortcut", "control"]
KINDS: tuple[Kind, ...] = ("backbone", "shortcut", "control")
"""Of layers, as records name them; "control" are gates, and whatever else a method adds to its backbone."""


@dataclass(frozen=True)
class LayerUsage:
    """What of one layer ran, for each image of a batch; absent means all of it.

    Best is the mask itself, bool: `inputs` and `outputs` (batch, channels) of the layer, `positions` (batch, h, w) of
    its output, or (batch,) where all of them ran or none. The harness counts what is in it, exactly, and keeps it for
    the report. Otherwise a fraction in [0, 1], (batch,), in float64: a float32 fraction of a large layer is wrong by
    some MACs.

    The layer's MACs are scaled by the product of the three shares, so a grouped convolution gives its active outputs
    only. A layer that is called N times costs all N calls; `positions` is then the share of the calls, or a mask
    (batch, N) or (batch, N, h, w).
    """

    inputs: Tensor | None = None
    outputs: Tensor | None = None
    positions: Tensor | None = None

    @property
    def parts(self) -> dict[str, Tensor]:
        """Those of the three that are given, by name."""
        named = {"inputs": self.inputs, "outputs": self.outputs, "positions": self.positions}
        return {name: part for name, part in named.items() if part is not None}


def active_share(part: Tensor) -> Tensor:
    """Return which share of a layer's channels or positions a part of `LayerUsage` means, float64 (batch,)."""
    if part.dtype != torch.bool or part.ndim == 1:
        return part.double()
    each = part.flatten(1)
    return each.sum(1).double() / each.shape[1]


@dataclass(frozen=True)
class LayerCost:
    """What one whole layer costs on one image, and its channels and positions.

    MACs, how many channels it reads and writes, and at how many positions, of all its calls together. 0 where this is
    not known: it is no convolution and no linear layer.
    """

    name: str
    kind: Kind
    macs: int
    inputs: int = 0
    outputs: int = 0
    positions: int = 0


@dataclass(frozen=True)
class ImageCosts:
    """MACs of each image.

    `by_kind` int64 (batch, 3) in the order of `KINDS`; `by_layer` float64 (layers,) the batch's sum for each layer.
    """

    by_kind: Tensor
    by_layer: Tensor


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put `model` in evaluation mode and without gradients; its mode is restored afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield model
    finally:
        model.train(was_training)


@contextmanager
def measuring(model: nn.Module) -> Iterator[nn.Module]:
    """Set the modes as `evaluating` does, in torch's inference mode.

    A model is evaluated, audited and timed in the same modes, so that nothing tells it which of these is done.
    """
    with evaluating(model), torch.inference_mode():
        yield model


def _backbone_prefix(model: nn.Module) -> str:
    """Name of the backbone in the model. Gates may be backbones too: of several, it is the one at `backbone`."""
    prefixes: list[str] = [name for name, module in model.named_modules() if isinstance(module, Backbone)]
    if not prefixes:
        raise ValueError("the method's model does not hold the backbone that it was built from")
    if len(prefixes) > 1 and "backbone" not in prefixes:
        raise ValueError(f'the model holds several backbones ({", ".join(prefixes)}); call its own one "backbone"')
    return "backbone" if len(prefixes) > 1 else prefixes[0]


def _sizes(layer: nn.Module, macs: int) -> tuple[int, int, int]:
    """Channels that a layer reads and writes, and its positions, which follow from its MACs.

    Each weight is used once at each of them.
    """
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels, layer.out_channels, macs // layer.weight.numel()
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features, macs // layer.weight.numel()
    return 0, 0, 0


def static_costs(model: nn.Module, shape: tuple[int, int, int]) -> tuple[LayerCost, ...]:
    """Cost of every layer of `model` on one image of `shape` (channels, height, width), all of it running.

    A layer is a module that spends MACs itself, outside the modules in it; one that runs several times costs them all.

    Raises ValueError when MACs are spent outside named layers, where a method could not say whether they ran, and for
    operators whose MACs are not known.
    """
    with evaluating(model):
        macs = macs_by_module(model, shape)
    prefix = _backbone_prefix(model)
    outside = macs.get("", 0)
    if outside:
        raise ValueError(f"{outside} MACs of the model are spent outside its named layers; put them into modules")
    own = {name: macs[name] for name, _ in model.named_modules() if macs.get(name)}
    kinds = _kinds(model.get_submodule(prefix), prefix, own)
    return tuple(
        LayerCost(name, kinds.get(name, "control"), int(spent), *_sizes(model.get_submodule(name), int(spent)))
        for name, spent in own.items()
    )


def _kinds(backbone: nn.Module, prefix: str, macs: Mapping[str, int]) -> Mapping[str, Kind]:
    """The kind of each layer that is the backbone's own.

    What was put into it is a gate, wherever it stands: in place of a layer, only the one that spends most is that
    layer.
    """
    assert isinstance(backbone, Backbone)
    dot = f"{prefix}." if prefix else ""
    kinds: dict[str, Kind] = {}
    for name, kind in _own_layers(backbone):
        whole = f"{dot}{name}"
        below = [layer for layer in macs if layer == whole or layer.startswith(f"{whole}.")]
        if kind == "shortcut":
            kinds |= dict.fromkeys(below, kind)
        elif below:
            kinds[max(below, key=lambda layer: (layer == whole, macs[layer]))] = kind
    return kinds


def _own_layers(backbone: Backbone) -> Iterator[tuple[str, Kind]]:
    """Names, in the backbone, of the layers that it is made of, a block's shortcut as one."""
    for end in (backbone.stem_conv, backbone.last_conv, backbone.linear_name):
        if end is not None:
            yield end, "backbone"
    for name, block in backbone.named_blocks():
        yield from ((f"{name}.{conv}", "backbone") for conv in block.branch_convs())
        yield f"{name}.{block.shortcut_name}", "shortcut"


def dense_macs(backbone: Backbone) -> int:
    """Return MACs of one image through the whole backbone."""
    return sum(cost.macs for cost in static_costs(backbone, backbone.input_shape))


class CostModel:
    """Turns usage into MACs for one trained model. Made once, it keeps the layers' costs on the model's device."""

    def __init__(self, layers: tuple[LayerCost, ...], device: torch.device) -> None:
        self.layers = layers
        self._index = {layer.name: i for i, layer in enumerate(layers)}
        self._macs = torch.tensor([layer.macs for layer in layers], dtype=torch.float64, device=device)
        kinds = torch.tensor([[layer.kind == kind for kind in KINDS] for layer in layers], device=device)
        self._kinds = kinds.to(torch.float64)

    def __call__(self, usage: Mapping[str, LayerUsage], batch: int) -> ImageCosts:
        """MACs of `batch` images.

        Each layer's are rounded to whole MACs: shares of channels are exact but for floating point. Raises ValueError
        for unknown layers, wrong shapes and fractions outside [0, 1].
        """
        macs = (self.shares(usage, batch) * self._macs[:, None]).round()
        return ImageCosts((macs.T @ self._kinds).to(torch.int64), macs.sum(1))

    def shares(self, usage: Mapping[str, LayerUsage], batch: int) -> Tensor:
        """Return which share of each layer's MACs ran for each of `batch` images, float64 (layers, batch).

        Raises as above.
        """
        shares = torch.ones(len(self.layers), batch, dtype=torch.float64, device=self._macs.device)
        parts = list(self._parts(usage, batch))
        for row, part in parts:
            shares[row] *= part
        _check_range([part for _, part in parts])
        return shares

    def _parts(self, usage: Mapping[str, LayerUsage], batch: int) -> Iterator[tuple[int, Tensor]]:
        """Every share in `usage`, with the number of its layer."""
        for name, used in usage.items():
            if name not in self._index:
                raise ValueError(f'usage names "{name}", which is not a layer with MACs (layers: {list(self._index)})')
            row = self._index[name]
            for which, part in used.parts.items():
                _check_shape(self.layers[row], which, part, batch)
                yield row, active_share(part)


def _check_shape(layer: LayerCost, which: str, part: Tensor, batch: int) -> None:
    """Raises ValueError for what is neither a number an image nor a mask of the layer's channels or positions."""
    if part.shape == (batch,):
        return
    size = {"inputs": layer.inputs, "outputs": layer.outputs, "positions": layer.positions}[which]
    is_mask = part.dtype == torch.bool and part.ndim > 1 and len(part) == batch
    if is_mask and part[0].numel() == size and (which == "positions" or part.ndim == 2):  # noqa: PLR2004  (channels)
        return
    mask = f"or a bool mask of {size} {which} an image" if size else "since its channels and positions are not known"
    raise ValueError(f'usage of "{layer.name}" has shape {tuple(part.shape)}, expected ({batch},) {mask}')


def _check_range(parts: Sequence[Tensor]) -> None:
    """Raises ValueError for a share outside [0, 1] or NaN: one look at all, since each look makes a GPU wait."""
    if parts:
        together = torch.stack(list(parts))
        if not bool(((together >= 0) & (together <= 1)).all()):
            raise ValueError("usage lies outside [0, 1]")
