"""The executor of L-Net, C-Net and LC-Net: their gates and cost modes, in the words of dynbench's gated executors."""

from collections.abc import Iterable
from typing import cast

from dynbench.method import Decision, FoldedBackbone, GatedExecutor, PooledGate, PooledLinear, When
from dynbench_methods.lc_net.gates import Gate, GatedBackbone

TIMING: dict[str, When] = {
    "sequential": "first",
    "parallel_cancel": "cancelled",
    "parallel": "beside",
}
"""LC-Net's cost modes, in the order of reports, and when the gates then run. sequential: before the block, so only
active channels are computed. parallel: beside conv1, which is computed whole. parallel_cancel: beside conv1, which is
abandoned when the block is skipped."""

RELU1 = Decision("clamp", above=0.0, scales=True)
"""Equation 5 and section 3.2: what is not above zero does not run, the rest is scaled by its score, 1 at most."""


def gated_executor(model: GatedBackbone, mode: str) -> GatedExecutor:
    """Images (batch, channels, h, w) -> logits (batch, classes), in one of LC-Net's cost modes."""
    each = enumerate(cast("Iterable[Gate]", model.gates))
    gates = [_folded(gate, f"gates.{index}", mode) for index, gate in each]
    return GatedExecutor(FoldedBackbone(model.backbone, "backbone"), gates)


def _folded(gate: Gate, name: str, mode: str) -> PooledGate | None:
    """One pooling and one product for both gates, the layer's score first. None where there is nothing to decide."""
    if gate.empty:
        return None
    kinds = {"layer": gate.layer, "channel": gate.channel}
    present = {kind: source for kind, source in kinds.items() if source is not None}
    scores = PooledLinear(tuple(present.values()), tuple(f"{name}.{kind}" for kind in present))
    layer, channels = (RELU1 if kind in present else None for kind in kinds)
    return PooledGate(scores, layer=layer, channels=channels, group=gate.group, when=TIMING[mode])
