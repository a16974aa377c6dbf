"""Parts for executors of residual backbones: BN folded into convolutions, channels and blocks really left out."""

from dynbench.executors.convolution import FoldedConv, kernels_of
from dynbench.executors.folded_backbone import FoldedBackbone
from dynbench.executors.folded_block import FoldedBlock
from dynbench.executors.gate import Decision, PooledGate, PooledLinear, Switches, When, active_channels
from dynbench.executors.gated import GatedExecutor
from dynbench.executors.masked_block import MaskedBlock, MaskedExecutor, hard_gate, patches_of
from dynbench.executors.one_image import OneImageNet, module_by_module
from dynbench.executors.per_image import fits as runs_per_image
from dynbench.executors.per_image import join_rows, narrow_rows, open_rows
from dynbench.executors.positions import PatchScores, positions_read, spread, write_positions
from dynbench.kernels.triton.operators import ActiveRows

__all__ = [
    "ActiveRows",
    "Decision",
    "FoldedBackbone",
    "FoldedBlock",
    "FoldedConv",
    "GatedExecutor",
    "MaskedBlock",
    "MaskedExecutor",
    "OneImageNet",
    "PatchScores",
    "PooledGate",
    "PooledLinear",
    "Switches",
    "When",
    "active_channels",
    "hard_gate",
    "join_rows",
    "kernels_of",
    "module_by_module",
    "narrow_rows",
    "open_rows",
    "patches_of",
    "positions_read",
    "runs_per_image",
    "spread",
    "write_positions",
]
