"""Evaluation: for each image and operating point, right or wrong, and what it cost. Always in fp32."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dynbench.cost import CostModel, evaluating
from dynbench.data import Split
from dynbench.data.augment import Normalise
from dynbench.method import Method, Output, Point

TOP = 5


@dataclass(frozen=True)
class PointEvaluation:
    """One operating point on n images, in the split's order.

    `correct` and `correct5` bool (n,): the label is the highest, or among the five highest logits. `macs` int64
    (n, 3): MACs by kind, in the order of `cost.KINDS`. `layer_macs` float64 (layers,): mean MACs of each layer.
    """

    point: str
    correct: np.ndarray
    correct5: np.ndarray
    macs: np.ndarray
    layer_macs: np.ndarray

    @property
    def top1(self) -> float:
        """Accuracy in per cent."""
        return 100 * float(self.correct.mean())

    @property
    def top5(self) -> float:
        """Top-5 accuracy in per cent."""
        return 100 * float(self.correct5.mean())

    @property
    def total_macs(self) -> np.ndarray:
        """MACs of each image, int64 (n,)."""
        return np.asarray(self.macs.sum(axis=1))


class _Tally:
    """Collects the batches of one operating point; everything stays on the device until the end."""

    def __init__(self) -> None:
        self.correct: list[Tensor] = []
        self.correct5: list[Tensor] = []
        self.macs: list[Tensor] = []
        self.layers: list[Tensor] = []

    def add(self, output: Output, labels: Tensor, costs: CostModel) -> None:
        top = output.logits.topk(min(TOP, output.logits.shape[1]), dim=1).indices == labels[:, None]
        self.correct.append(top[:, 0])
        self.correct5.append(top.any(dim=1))
        cost = costs(output.usage, len(labels))
        self.macs.append(cost.by_kind)
        self.layers.append(cost.by_layer)

    def result(self, point: Point) -> PointEvaluation:
        macs = torch.cat(self.macs).cpu().numpy()
        return PointEvaluation(
            point.name,
            torch.cat(self.correct).cpu().numpy(),
            torch.cat(self.correct5).cpu().numpy(),
            macs,
            (torch.stack(self.layers).sum(0) / len(macs)).cpu().numpy(),
        )


def evaluate(
    method: Method,
    model: nn.Module,
    split: Split,
    normalise: Normalise,
    costs: CostModel,
    points: Sequence[Point],
    batch_size: int,
) -> tuple[PointEvaluation, ...]:
    """Evaluate `model` at each of `points` on the whole split."""
    tallies = [_Tally() for _ in points]
    with evaluating(model):
        for start in range(0, len(split), batch_size):
            x = normalise(split.images[start : start + batch_size])
            labels = split.labels[start : start + batch_size]
            for tally, output in zip(tallies, method.infer(model, x, points), strict=True):
                tally.add(output, labels, costs)
    return tuple(tally.result(point) for tally, point in zip(tallies, points, strict=True))
