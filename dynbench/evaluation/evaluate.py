"""Evaluation: for each image and operating point, right or wrong, and what it cost. Always in fp32."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dynbench.cost import CostModel, evaluating
from dynbench.data import Split
from dynbench.data.augment import Normalise
from dynbench.data.image_files import Images, in_batches
from dynbench.guards.decoy_labels import check_not_copied, made_up
from dynbench.guards.side_effects import watched
from dynbench.method import Method, Output, Point
from dynbench.process_group import ALONE, ProcessGroup

TOP = 5


@dataclass(frozen=True)
class PointEvaluation:
    """One operating point on n images, in the split's order.

    `correct` and `correct5` bool (n,): the label is the highest, or among the five highest logits. `macs` int64
    (n, 3): MACs by kind, in the order of `cost.KINDS`. `layer_macs` float64 (layers,): mean MACs of each layer.
    `answers` int64 (n,): the class of the highest logit.
    """

    point: str
    correct: np.ndarray
    correct5: np.ndarray
    macs: np.ndarray
    layer_macs: np.ndarray
    answers: np.ndarray

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

    def score(self, labels: Tensor) -> PointEvaluation:
        """Right or wrong, by the labels (n,)."""
        found = self.top == labels.cpu()[:, None]
        correct, correct5 = found[:, 0].numpy(), found.any(dim=1).numpy()
        return PointEvaluation(self.point, correct, correct5, self.macs, self.layer_macs, self.top[:, 0].numpy())


class _Tally:
    """Collects the batches of one operating point; everything stays on the device until the end."""

    def __init__(self) -> None:
        self.top: list[Tensor] = []
        self.macs: list[Tensor] = []
        self.layers: list[Tensor] = []

    def add(self, output: Output, images: int, costs: CostModel) -> None:
        self.top.append(output.logits.topk(min(TOP, output.logits.shape[1]), dim=1).indices)
        cost = costs(output.usage, images)
        self.macs.append(cost.by_kind)
        self.layers.append(cost.by_layer)

    def result(self, point: Point) -> Prediction:
        macs = torch.cat(self.macs).cpu().numpy()
        layers = (torch.stack(self.layers).sum(0) / len(macs)).cpu().numpy()
        return Prediction(point.name, torch.cat(self.top).cpu(), macs, layers)

    def shared(self, processes: ProcessGroup) -> "_Tally":
        """The batches of the whole group, in order."""
        if processes.world == 1:
            return self
        whole = _Tally()
        for top, macs, layers in processes.gathered(
            [[one.cpu() for one in own] for own in (self.top, self.macs, self.layers)]
        ):
            whole.top += top
            whole.macs += macs
            whole.layers += layers
        return whole


def predict(
    method: Method,
    model: nn.Module,
    images: Images,
    normalise: Normalise,
    costs: CostModel,
    points: Sequence[Point],
    batch_size: int,
    processes: ProcessGroup = ALONE,
) -> tuple[Prediction, ...]:
    """What `model` answers at each of `points` on `images`, uint8 (n, channels, height, width). There are no labels
    here, nor in the frames below the plugin's. Each of several `processes` asks for its part; all have
    the whole then."""
    tallies = [_Tally() for _ in points]
    with evaluating(model), watched("while it was evaluated"):
        for batch in in_batches(images, batch_size, processes.part(len(images), batch_size)):
            x = normalise(batch)
            for tally, output in zip(tallies, method.infer(model, x, points), strict=True):
                tally.add(output, len(x), costs)
    return tuple(tally.shared(processes).result(point) for tally, point in zip(tallies, points, strict=True))


def evaluate(
    method: Method,
    model: nn.Module,
    split: Split,
    normalise: Normalise,
    costs: CostModel,
    points: Sequence[Point],
    batch_size: int,
    processes: ProcessGroup = ALONE,
) -> tuple[PointEvaluation, ...]:
    """Evaluate `model` at each of `points` on the whole split, whose labels are made-up ones while the plugin runs. The
    `processes` divide the work among them; each has the result.

    Raises AuditFailed when the answers follow those.
    """
    classes = int(split.labels.max()) + 1
    with made_up(split.labels, classes) as false:
        predictions = predict(method, model, split.images, normalise, costs, points, batch_size, processes)
    seen = torch.cat(processes.gathered(false[processes.part(len(split), batch_size)].cpu()))  # each process's own
    for prediction in predictions:
        answers, labels = prediction.top[:, 0], split.labels.cpu()
        check_not_copied(answers, labels, seen, classes, f'point "{prediction.point}"')
    return tuple(prediction.score(split.labels) for prediction in predictions)
