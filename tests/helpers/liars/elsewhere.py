"""Behaves where it is audited, and otherwise where it is timed, in batches, or on the test split."""

import sys
from collections.abc import Sequence
from typing import Any, cast

import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.method import LayerUsage, Output, Point

from .masks import Whole
from .patches import UNDO


def _nothing(x: Tensor, layers: Sequence[str] = ("linear",)) -> dict[str, LayerUsage]:
    return dict.fromkeys(layers, LayerUsage(outputs=torch.zeros(len(x), dtype=torch.float64)))


class ZerosForBatches(Dense):
    """Computes single images, and answers batches with zeros."""

    name = "zeros_for_batches"

    class Executor(Whole):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if len(x) == 1 else x.new_zeros(len(x), 10)

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return self.Executor(model)


class ClaimsLessInBatches(Dense):
    """Says of images in batches that the classifier did not run, and of single ones that it did."""

    name = "claims_less_in_batches"
    static = False

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        return [Output(model(x), _nothing(x, ("layer1.0.conv1",)) if len(x) > 1 else {}) for _ in points]


class ClaimsLessOnTheTest(Dense):
    """Knows the validation images, and claims less of all others."""

    name = "claims_less_on_the_test"
    static = False
    seen: set[float] = set()
    calls = 0

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        keys = [round(float(one.double().sum()), 3) for one in x]
        if type(self).calls < 23:  # batches of 8: one look at the validation split
            type(self).calls += 1
            type(self).seen |= set(keys)
        skips = torch.tensor([float(key in self.seen) for key in keys], dtype=torch.float64)
        return [Output(model(x), {"layer1.0.conv1": LayerUsage(outputs=skips)}) for _ in points]


class KnowsTheFirst(ClaimsLessOnTheTest):
    """Claims less of all images but the first sixteen that it was asked about, which it takes for the audited ones."""

    name = "knows_the_first"
    calls = 21


class AdaptsToTheBatch(Dense):
    """Normalises by the statistics of the batch."""

    name = "adapts_to_the_batch"

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
        for one in norms:
            one.train()
            one.momentum = 0.0
        outputs = [Output(model(x)) for _ in points]
        for one in norms:
            one.eval()
        return outputs


class KnowsTheClock(Dense):
    """Leaves all blocks out where the clock runs."""

    name = "knows_the_clock"

    class Executor(Whole):
        def forward(self, x: Tensor) -> Tensor:
            backbone = cast("Backbone", self.model)
            if _is_looked_at():
                return super().forward(x)
            return backbone.head(backbone.stem(x).repeat(1, 4, 1, 1))

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return self.Executor(model)


def _is_looked_at() -> bool:
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "by_pass":
            return False
    return True


class SlowsTheReference(Dense):
    """Switches oneDNN off for the whole process when it is restored, so that the dense net is slow."""

    name = "slows_the_reference"

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        class Executor(Whole):
            def forward(self, x: Tensor) -> Tensor:
                torch._C._set_mkldnn_enabled(True)
                logits = super().forward(x)
                torch._C._set_mkldnn_enabled(_is_looked_at())
                return logits

        return Executor(model)


class SlowsTheDense(Dense):
    """Has every module of the reference's kind run six times, by a part of PyTorch that no switch tells of."""

    name = "slows_the_dense"

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        once = nn.Module.__call__

        def often(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            for _ in range(5 * (type(module).__name__ == "FoldedBackbone")):
                once(module, *args, **kwargs)
            return once(module, *args, **kwargs)

        nn.Module.__call__ = often  # type: ignore[method-assign]
        UNDO.append(lambda: setattr(nn.Module, "__call__", once))
        return Whole(model)


class Moody(Dense):
    """Declared static, and skips a layer on some images."""

    name = "moody"

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        half = (x.mean((1, 2, 3)) > 0).double()
        return [Output(model(x), {"layer1.0.conv1": LayerUsage(outputs=half)}) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return cast("nn.Module", None)


class WorksElsewhere(Dense):
    """Runs one gate, and says that it was another, of the same size: the sum is right."""

    name = "works_elsewhere"
    static = False

    def build(self, backbone: Backbone) -> nn.Module:
        model = super().build(backbone)
        return _Twice(cast("Backbone", model))

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        return [Output(model(x), _nothing(x, ("gate",))) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return _Booked(cast("_Twice", model))


class _Twice(nn.Module):
    """A gate that costs as much as the other gate."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone, self.gate, self.other = backbone, nn.Linear(16, 1), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3)).repeat(1, 16)
        logits: Tensor = self.backbone(x) + 0 * (self.gate(pooled) + self.other(pooled))
        return logits


class _Booked(nn.Module):
    """Runs the gate whose MACs are booked as the other's."""

    def __init__(self, model: _Twice) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3)).repeat(1, 16)
        logits: Tensor = self.model.backbone(x) + 0 * self.model.gate(pooled)
        return logits
