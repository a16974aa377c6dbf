"""Parts for executors of residual backbones: BN folded into convolutions, channels and blocks really left out."""

from dynbench.executors.active import active_channels
from dynbench.executors.convolution import FoldedConv
from dynbench.executors.engine import engine_of
from dynbench.executors.folded_backbone import FoldedBackbone
from dynbench.executors.folded_block import FoldedBlock
from dynbench.executors.one_image import LinearGate, OneImageNet, module_by_module
from dynbench.executors.pooled_linear import PooledLinear

__all__ = [
    "FoldedBackbone",
    "FoldedBlock",
    "FoldedConv",
    "LinearGate",
    "OneImageNet",
    "PooledLinear",
    "active_channels",
    "engine_of",
    "module_by_module",
]
