"""What an executor runs on."""

from torch import nn

from dynbench.executors.convolution import FoldedConv
from dynbench.native import operators as native

EAGER = "pytorch eager"


def engine_of(executor: nn.Module) -> str:
    """`dynbench kernels (avx512)` where any of its convolutions is one of ours, else `pytorch eager`."""
    ours = any(isinstance(module, FoldedConv) and module.native for module in executor.modules())
    return f"dynbench kernels ({native.instruction_set()})" if ours else EAGER
