"""Parts for executors of residual backbones: BN folded into convolutions, channels and blocks really left out."""

from dynbench.executors.active import active_channels
from dynbench.executors.convolution import FoldedConv
from dynbench.executors.engine import engine_of
from dynbench.executors.folded_backbone import FoldedBackbone
from dynbench.executors.folded_block import FoldedBlock
from dynbench.executors.one_image import LinearGate, OneImageNet, module_by_module
from dynbench.executors.per_image import fits as runs_per_image
from dynbench.executors.per_image import join_rows, narrow_rows, open_rows
from dynbench.executors.pooled_linear import PooledLinear
from dynbench.gpu.rows import Rows

__all__ = [
    "FoldedBackbone",
    "FoldedBlock",
    "FoldedConv",
    "LinearGate",
    "OneImageNet",
    "PooledLinear",
    "Rows",
    "active_channels",
    "engine_of",
    "join_rows",
    "module_by_module",
    "narrow_rows",
    "open_rows",
    "runs_per_image",
]
