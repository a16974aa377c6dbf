"""The cost modes of L-Net, C-Net and LC-Net: what is accounted in each, and the executor that does so."""

from collections.abc import Iterable, Sequence
from typing import cast

from dynbench.method import (
    Decision,
    FoldedBackbone,
    GatedExecutor,
    LayerUsage,
    Point,
    PooledGate,
    PooledLinear,
    ResidualBlock,
    When,
)
from dynbench_methods.lc_net.gates import Gate, GatedBackbone, Salience

TIMING: dict[str, When] = {
    "sequential": "first",
    "parallel_cancel": "cancelled",
    "parallel": "beside",
}
"""When the gates run, in the order of reports. sequential: before the block, so only active channels are computed.
parallel: beside conv1, which is computed whole. parallel_cancel: beside conv1, which is abandoned when the block is
skipped."""

COST_MODES = tuple(Point(mode) for mode in TIMING)

RELU1 = Decision("clamp", above=0.0, scales=True)
"""Equation 5 and section 3.2: what is not above zero does not run, the rest is scaled by its score, 1 at most."""


def usage_in(
    mode: str, blocks: Sequence[tuple[str, ResidualBlock]], saliences: Sequence[Salience]
) -> dict[str, LayerUsage]:
    """Return what each convolution of each block ran in a cost mode."""
    usage = {}
    for (name, block), salience in zip(blocks, saliences, strict=True):
        runs = None if salience.layer is None else salience.layer > 0
        active = None if salience.channel is None else salience.channel > 0
        layers, gated = [f"backbone.{name}.{conv}" for conv in block.branch_convs()], len(block.gated_convs())
        first, reader, others = layers[0], layers[gated], layers[gated + 1 :]
        usage[first] = {
            "sequential": LayerUsage(outputs=active, positions=runs),
            "parallel_cancel": LayerUsage(positions=runs),
            "parallel": LayerUsage(),
        }[mode]
        usage.update({depthwise: LayerUsage(outputs=active, positions=runs) for depthwise in layers[1:gated]})
        usage[reader] = LayerUsage(inputs=active, positions=runs)
        usage.update({other: LayerUsage(positions=runs) for other in others})
    return usage


def gated_executor(model: GatedBackbone, mode: str) -> GatedExecutor:
    """Map images (batch, channels, h, w) -> logits (batch, classes), in one of LC-Net's cost modes."""
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
