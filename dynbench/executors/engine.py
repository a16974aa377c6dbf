"""What an executor runs on."""

from torch import nn

from dynbench.executors.convolution import FoldedConv
from dynbench.native import operators as native

EAGER = "pytorch eager"


def engine_of(executor: nn.Module) -> str:
    """`dynbench kernels (avx512)` where any of its convolutions is one of ours, `dynbench kernels (triton)` where any
    has run on those, else `pytorch eager`."""
    convolutions = [module for module in executor.modules() if isinstance(module, FoldedConv)]
    if any(conv.taps is not None for conv in convolutions):
        return "dynbench kernels (triton)"
    return f"dynbench kernels ({native.instruction_set()})" if any(conv.native for conv in convolutions) else EAGER
