"""Changes what measures it: the counter, the harness, the clock. `UNDO` puts everything back."""

import time
from collections.abc import Callable

import torch
from dynbench_methods.dense import Dense
from torch import nn
from torch.utils import flop_counter
from torch.utils.flop_counter import FlopCounterMode

from dynbench import cost
from dynbench.backbones import Backbone

UNDO: list[Callable[[], None]] = []


def _exchange(owner: object, name: str, value: object) -> None:
    before = getattr(owner, name)
    UNDO.append(lambda: setattr(owner, name, before))
    setattr(owner, name, value)


class _Patches(Dense):
    def build(self, backbone: Backbone) -> nn.Module:
        self.patch()
        return super().build(backbone)

    def patch(self) -> None:
        raise NotImplementedError


class PatchesTheCounter(_Patches):
    name = "patches_the_counter"

    def patch(self) -> None:
        _exchange(FlopCounterMode, "get_total_flops", lambda self: 2)


class PatchesAFormula(_Patches):
    name = "patches_a_formula"

    def patch(self) -> None:
        cheap = {torch.ops.aten.convolution: lambda *args, **kwargs: 2}
        _exchange(flop_counter, "flop_registry", {**flop_counter.flop_registry, **cheap})


class PatchesTheCode(_Patches):
    """The function stays the same object; its code does not."""

    name = "patches_the_code"

    def patch(self) -> None:
        _exchange(cost.dense_macs, "__code__", (lambda backbone: 10**9).__code__)


class PatchesTheClock(_Patches):
    name = "patches_the_clock"

    def patch(self) -> None:
        slow = time.perf_counter
        _exchange(time, "perf_counter", lambda: slow() / 10)
