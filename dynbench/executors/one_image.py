"""A folded backbone on one image in a single call, without Python between its operators."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from dynbench.backbones.residual import SubsampleAndPad
from dynbench.executors.convolution import FoldedConv
from dynbench.executors.folded_block import FoldedBlock
from dynbench.executors.gate import PooledGate, PooledLinear
from dynbench.executors.packed_weights import PackedWeights
from dynbench.kernels.cpu import operators as native

_modules_only = False


@contextmanager
def module_by_module() -> Iterator[None]:
    """Have executors run through their modules, each of which can be watched; nothing else changes."""
    global _modules_only  # noqa: PLW0603
    before, _modules_only = _modules_only, True
    try:
        yield
    finally:
        _modules_only = before


class OneImageNet:
    """A backbone's parts for single images in fp32 on the CPU, where the kernels run every convolution.

    `gates`: one a block or None, or none at all. `plain`: whether stem, blocks and classifier are all that there is.
    """

    def __init__(
        self,
        stem: FoldedConv,
        blocks: Sequence[FoldedBlock],
        classifier: PooledLinear,
        gates: Sequence[PooledGate | None] = (),
        plain: bool = True,
    ) -> None:
        self._stem, self._blocks, self._classifier = stem, blocks, classifier
        self._gates = gates or [None] * len(blocks)
        self._plain = plain and all(block.plain for block in blocks)
        self._network: Any = None
        self._made_of: PackedWeights | None = None

    def fits(self, x: Tensor) -> bool:
        """Return whether it can run images x (batch, channels, h, w)."""
        if len(x) != 1 or not x.is_cpu or x.dtype != torch.float32 or _modules_only or not native.available():
            return False
        if self._made_of is not self._stem.kernel:  # moved, or never made
            self._network, self._made_of = self._make() if self._is_native() else None, self._stem.kernel
        return self._network is not None

    def __call__(self, x: Tensor, kept: Sequence[bool] | None = None) -> Tensor:
        """Image (1, channels, h, w), for which `fits` was asked and said yes, -> logits (1, classes).

        `kept`: which blocks' branches run, where that is known beforehand; of the others the shortcut does, without a
        ReLU.
        """
        logits: Tensor = self._network.run(x, None if kept is None else [int(one) for one in kept])
        return logits

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes its own network: the native one cannot be copied."""
        return {**self.__dict__, "_network": None, "_made_of": None}

    def _is_native(self) -> bool:
        if not self._plain:
            return False
        parts = [part for block in self._blocks for part in (block.first, *block.rest, *_parts(block.shortcut))]
        return self._stem.native and all(
            part.native if isinstance(part, FoldedConv) else isinstance(part, SubsampleAndPad) for part in parts
        )

    def _make(self) -> Any:
        network = torch.classes.dynbench.Network()
        stem = _add(network, self._stem)
        for block, gate in zip(self._blocks, self._gates, strict=True):
            first, *rest = (_add(network, cast("FoldedConv", conv)) for conv in (block.first, *block.rest))
            network.add_block(first, rest, *_shortcut(network, block.shortcut))
            if gate is not None:
                _add_gate(network, gate)
        network.set_ends(stem, self._classifier.weight, self._classifier.bias)
        return network


def _add_gate(network: Any, gate: PooledGate) -> None:
    """To the block that was added last."""
    hidden = (None, None) if gate.hidden is None else (gate.hidden.weight, gate.hidden.bias)
    rules = (None if decision is None else decision.rule for decision in (gate.layer, gate.channels))
    network.add_gate(*hidden, gate.scores.weight, gate.scores.bias, *rules, gate.group, gate.when)


def _parts(shortcut: nn.Module) -> list[nn.Module]:
    return [shortcut] if isinstance(shortcut, FoldedConv) else list(shortcut.children())


def _shortcut(network: Any, shortcut: nn.Module) -> tuple[str, list[int]]:
    """As the network wants it: its kind, and what that needs."""
    parts = _parts(shortcut)
    if not parts:
        return "identity", []
    (part,) = parts
    if isinstance(part, FoldedConv):
        return "convolution", [_add(network, part)]
    assert isinstance(part, SubsampleAndPad)
    return "subsample", [part.stride, *part.padding[-2:]]


def _add(network: Any, conv: FoldedConv) -> int:
    """The number of the convolution in the network."""
    assert conv.kernel is not None
    kernel = conv.kernel
    return int(network.add_layer(kernel.weight, kernel.packed, kernel.bias, *kernel.options))
