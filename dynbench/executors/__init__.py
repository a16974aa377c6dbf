"""Parts for executors of residual backbones: BN folded into convolutions, channels and blocks really left out."""

from dynbench.executors.active import active_channels
from dynbench.executors.convolution import FoldedConv
from dynbench.executors.engine import engine_of
from dynbench.executors.folded import FoldedBackbone, FoldedBlock
from dynbench.executors.pooled_linear import PooledLinear

__all__ = ["FoldedBackbone", "FoldedBlock", "FoldedConv", "PooledLinear", "active_channels", "engine_of"]
