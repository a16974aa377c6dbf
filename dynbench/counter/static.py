"""MACs of each module on one image, all of it running: from fvcore where it knows every operator, else counted.

fvcore reads a traced graph, and leaves out what it does not know: attention, recurrent layers, bilinear ones,
convolutions with `padding="same"`. What it left out is asked, and where anything in it may multiply, the model is run
and counted as executors are.
"""

import warnings
from collections import Counter
from collections.abc import Mapping

import torch
from torch import nn

from dynbench.counter.dispatch import counted_by_module
from dynbench.counter.operators import kind_of

UNCOUNTED = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "adaptive_avg_pool2d", "upsample_nearest2d")
"""What fvcore would count besides multiply-accumulates of weights."""
EXACT = frozenset({"conv", "addmm", "linear"})
"""Operators, by fvcore's names, whose MACs it has to the unit."""


def macs_by_module(model: nn.Module, shape: tuple[int, int, int]) -> Mapping[str, int]:
    """Return MACs of each of the model's modules on one image of `shape` (channels, height, width).

    Without those of the modules in it; at "" are those that no named module spends. The caller sets the mode
    (evaluation, no gradients).

    Raises ValueError for an operator whose MACs are not known.
    """
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    image = torch.zeros(1, *shape, device=device)
    known = _by_fvcore(model, image)
    if known is not None:
        return known
    work, _ = counted_by_module(model, image)
    if work.refused:
        raise ValueError(f"MACs of {work.refused[0]} are not known; dynbench/counter lists the operators that are")
    return work.by_module


def _by_fvcore(model: nn.Module, image: torch.Tensor) -> Mapping[str, int] | None:
    """None where fvcore cannot trace it, or what it leaves out may multiply."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which announces its retirement
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(model, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        analysis.set_op_handle(**{f"aten::{name}": _nothing for name in UNCOUNTED})
        try:
            whole: Mapping[str, int] = analysis.by_module()
        except Exception:  # the tracer raises anything; the model is counted instead, which says what is wrong
            return None
    left_out = {name for name in analysis.unsupported_ops() if kind_of(name) not in {"free", "product"}}
    found = {name for name, macs in analysis.by_operator().items() if macs}
    if left_out or found - EXACT:
        return None
    return {name: int(whole[name]) - _inside(name, module, whole) for name, module in model.named_modules()}


def _inside(name: str, module: nn.Module, whole: Mapping[str, int]) -> int:
    return sum(int(whole[f"{name}.{child}" if name else child]) for child, _ in module.named_children())


def _nothing(inputs: object, outputs: object) -> Counter[str]:  # noqa: ARG001  (fvcore's signature)
    """Fvcore's handle of an operation that is not counted; its own None leaves the default handle in force."""
    return Counter()
