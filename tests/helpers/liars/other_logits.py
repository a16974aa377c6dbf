"""Fast, exact in its MACs, and wrong: what is timed answers otherwise than what is evaluated."""

from typing import cast

from dynbench_methods.dense import Dense
from torch import nn

from dynbench.executors import FoldedBackbone
from dynbench.method import Point


class OtherLogits(Dense):
    name = "other_logits"

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        executor = cast("FoldedBackbone", super().executor(model, point))
        executor.stem_conv.bias += 0.1
        return executor
