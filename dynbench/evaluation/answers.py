"""What a method answered, for each image and operating point: right or wrong, and what it cost."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dynbench.cost import CostModel
from dynbench.evaluation.usage_seen import UsageSeen
from dynbench.method import Output, Point
from dynbench.process_group import ProcessGroup
from dynbench.record.usage_arrays import PointUsage

TOP = 5


@dataclass(frozen=True)
class PointEvaluation:
    """One operating point on n images, in the split's order.

    `correct` and `correct5` bool (n,): the label is the highest, or among the five highest logits. `macs` int64
    (n, 3): MACs by kind, in the order of `cost.KINDS`. `layer_macs` float64 (layers,): mean MACs of each layer.
    `answers` int64 (n,): the class of the highest logit. `usage`: what of each layer ran, where that was asked for.
    """

    point: str
    correct: np.ndarray
    correct5: np.ndarray
    macs: np.ndarray
    layer_macs: np.ndarray
    answers: np.ndarray
    usage: PointUsage | None = None

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


@dataclass(frozen=True)
class Prediction:
    """What a method answered at one operating point on n images, before anybody looks at a label.

    `top` int64 (n, up to 5): the classes of the highest logits, highest first. `macs`, `layer_macs` as in
    `PointEvaluation`.
    """

    point: str
    top: Tensor
    macs: np.ndarray
    layer_macs: np.ndarray
    usage: UsageSeen | None = None

    def score(self, labels: Tensor) -> PointEvaluation:
        """Return right or wrong, by the labels (n,)."""
        found = self.top == labels.cpu()[:, None]
        correct, correct5 = found[:, 0].numpy(), found.any(dim=1).numpy()
        usage = None if self.usage is None else self.usage.by_class(labels)
        answers = self.top[:, 0].numpy()
        return PointEvaluation(self.point, correct, correct5, self.macs, self.layer_macs, answers, usage)


class Tally:
    """Collects the batches of one operating point; everything stays on the device until the end."""

    def __init__(self, with_usage: bool = False) -> None:
        """`with_usage`: also what of each layer ran."""
        self.usage = UsageSeen() if with_usage else None
        self.top: list[Tensor] = []
        self.macs: list[Tensor] = []
        self.layers: list[Tensor] = []

    def add(self, output: Output, images: int, costs: CostModel) -> None:
        """Add the answers to a batch of `images` images."""
        self.top.append(output.logits.topk(min(TOP, output.logits.shape[1]), dim=1).indices)
        cost = costs(output.usage, images)
        self.macs.append(cost.by_kind)
        self.layers.append(cost.by_layer)
        if self.usage is not None:
            self.usage.add(output.usage, images, costs)

    def result(self, point: Point) -> Prediction:
        """Return all answers at `point`."""
        macs = torch.cat(self.macs).cpu().numpy()
        layers = (torch.stack(self.layers).sum(0) / len(macs)).cpu().numpy()
        return Prediction(point.name, torch.cat(self.top).cpu(), macs, layers, self.usage)

    def shared(self, processes: ProcessGroup) -> "Tally":
        """Return the batches of the whole group, in order."""
        if processes.world == 1:
            return self
        whole = Tally()
        if self.usage is not None:
            whole.usage = UsageSeen.together(processes.gathered(self.usage.on_host()))
        for top, macs, layers in processes.gathered(
            [[one.cpu() for one in own] for own in (self.top, self.macs, self.layers)]
        ):
            whole.top += top
            whole.macs += macs
            whole.layers += layers
        return whole
