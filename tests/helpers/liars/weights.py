"""Is not the model that was trained: changes weights once evaluated, or answers otherwise where it is timed."""

import sys
from collections.abc import Sequence
from typing import cast

import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.method import Output, Point


class ChangesWeights(Dense):
    name = "changes_weights"

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        with torch.no_grad():
            cast("Backbone", model).linear.weight[0] += 0.01
        return super().executor(model, point)


class KnowsTheWorker(Dense):
    """In the process that times, it answers with another net, of which both `infer` and executor know."""

    name = "knows_the_worker"

    def restore(self, backbone: Backbone, weights: object) -> nn.Module:
        self.timed = sys.argv[0].endswith("timing_process.py")
        return super().restore(backbone, weights)

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        logits = model(x)
        return [Output(logits.flip(1) if getattr(self, "timed", False) else logits) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        executor = super().executor(model, point)
        return _Flipped(executor) if getattr(self, "timed", False) else executor


class _Flipped(nn.Module):
    def __init__(self, executor: nn.Module) -> None:
        super().__init__()
        self.executor = executor

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.executor(x).flip(1))
