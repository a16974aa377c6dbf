"""Says that half of a layer's outputs did not run."""

from collections.abc import Sequence

import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.method import LayerUsage, Output, Point


class UnderReports(Dense):
    name = "under_reports"
    static = False

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        half = torch.full((len(x),), 0.5, dtype=torch.float64)
        return [Output(model(x), {"layer2.0.conv2": LayerUsage(outputs=half)}) for _ in points]
