"""Multiply-accumulates (MACs): what every layer costs whole, and what it cost each image.

One MAC is one multiplication and one addition; BN, activations, pooling and biases are not counted, which is
the convention of the published figures. Static costs come from fvcore.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dynbench.backbones import Backbone

Kind = Literal["backbone", "shortcut", "control"]
KINDS: tuple[Kind, ...] = ("backbone", "shortcut", "control")
"""Of layers, as records name them; "control" are gates, and whatever else a method adds to its backbone."""
# What fvcore would count besides multiply-accumulates of weights.
UNCOUNTED = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "adaptive_avg_pool2d", "upsample_nearest2d")


@dataclass(frozen=True)
class LayerUsage:
    """Which fraction of one layer ran, for each image of a batch: tensors of shape (batch,), in [0, 1]. Give float64:
    a float32 fraction of a large layer is wrong by some MACs.

    `inputs` and `outputs` are active over all channels, `positions` over output pixels; absent means all. The
    layer's MACs are scaled by their product, so a grouped convolution gives its active outputs only.
    """

    inputs: Tensor | None = None
    outputs: Tensor | None = None
    positions: Tensor | None = None


@dataclass(frozen=True)
class LayerCost:
    """MACs of one whole layer on one image."""

    name: str
    kind: Kind
    macs: int


@dataclass(frozen=True)
class ImageCosts:
    """MACs of each image: `by_kind` int64 (batch, 3) in the order of `KINDS`; `by_layer` float64 (layers,) the
    batch's sum for each layer."""

    by_kind: Tensor
    by_layer: Tensor


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """`model` in evaluation mode and without gradients; its mode is restored afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield model
    finally:
        model.train(was_training)


def _backbone_prefix(model: nn.Module) -> str:
    """Name of the backbone in the model. Gates may be backbones too: of several, it is the one at `backbone`."""
    prefixes: list[str] = [name for name, module in model.named_modules() if isinstance(module, Backbone)]
    if not prefixes:
        raise ValueError("the method's model does not hold the backbone that it was built from")
    if len(prefixes) > 1 and "backbone" not in prefixes:
        raise ValueError(f'the model holds several backbones ({", ".join(prefixes)}); call its own one "backbone"')
    return "backbone" if len(prefixes) > 1 else prefixes[0]


def _shortcuts(model: nn.Module, prefix: str) -> tuple[str, ...]:
    """Where the names of the shortcuts' layers start."""
    backbone = model.get_submodule(prefix)
    assert isinstance(backbone, Backbone)
    dot = f"{prefix}." if prefix else ""
    return tuple(f"{dot}{name}.{block.shortcut_name}." for name, block in backbone.named_blocks())


def _kind(layer: str, prefix: str, shortcuts: tuple[str, ...]) -> Kind:
    inside = not prefix or layer == prefix or layer.startswith(f"{prefix}.")
    if not inside:
        return "control"
    return "shortcut" if f"{layer}.".startswith(shortcuts) else "backbone"


def _nothing(inputs: object, outputs: object) -> Counter[str]:  # noqa: ARG001  (fvcore's signature)
    """fvcore's handle of an operation that is not counted; its own None leaves the default handle in force."""
    return Counter()


def static_costs(model: nn.Module, shape: tuple[int, int, int]) -> tuple[LayerCost, ...]:
    """Cost of every layer of `model` on one image of `shape` (channels, height, width), all of it running.

    Raises ValueError when MACs are spent outside named layers: a method could then not say whether they ran.
    """
    device = next(model.parameters()).device
    with evaluating(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which announces its retirement
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(model, torch.zeros(1, *shape, device=device))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        analysis.set_op_handle(**{f"aten::{op}": _nothing for op in UNCOUNTED})
        by_module = analysis.by_module()
    prefix = _backbone_prefix(model)
    leaves = [name for name, module in model.named_modules() if not any(True for _ in module.children())]
    shortcuts = _shortcuts(model, prefix)
    costs = tuple(
        LayerCost(name, _kind(name, prefix, shortcuts), int(by_module[name])) for name in leaves if by_module[name]
    )
    outside = int(by_module[""]) - sum(cost.macs for cost in costs)
    if outside:
        raise ValueError(f"{outside} MACs of the model are spent outside its named layers; put them into modules")
    return costs


def dense_macs(backbone: Backbone) -> int:
    """MACs of one image through the whole backbone."""
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
        """MACs of `batch` images. Each layer's are rounded to whole MACs: fractions of channels are exact but for
        floating point. Raises ValueError for unknown layers, wrong shapes and fractions outside [0, 1]."""
        fractions = torch.ones(len(self.layers), batch, dtype=torch.float64, device=self._macs.device)
        parts = list(self._parts(usage, batch))
        for row, part in parts:
            fractions[row] *= part
        _check_range([part for _, part in parts])
        macs = (fractions * self._macs[:, None]).round()
        return ImageCosts((macs.T @ self._kinds).to(torch.int64), macs.sum(1))

    def _parts(self, usage: Mapping[str, LayerUsage], batch: int) -> Iterator[tuple[int, Tensor]]:
        """Every fraction in `usage`, with the number of its layer."""
        for name, used in usage.items():
            if name not in self._index:
                raise ValueError(f'usage names "{name}", which is no layer with MACs (layers: {list(self._index)})')
            for part in (used.inputs, used.outputs, used.positions):
                if part is not None:
                    if part.shape != (batch,):
                        raise ValueError(f'usage of "{name}" has shape {tuple(part.shape)}, expected ({batch},)')
                    yield self._index[name], part


def _check_range(parts: Sequence[Tensor]) -> None:
    """Raises ValueError for a fraction outside [0, 1] or NaN: one look at all, since each look makes a GPU wait."""
    if parts:
        together = torch.stack([part.double() for part in parts])
        if not bool(((together >= 0) & (together <= 1)).all()):
            raise ValueError("usage lies outside [0, 1]")
