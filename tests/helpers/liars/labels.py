"""Looks for labels: in the frames that called it, in memory, and in the data set's files."""

import gc
import sys
from collections.abc import Sequence
from types import FrameType

import torch
from dynbench_methods.dense import Dense
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import one_hot

from dynbench.data import load_data
from dynbench.data.split import Split
from dynbench.method import Output, Point
from dynbench.stage import Progress
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import DataSpec

CLASSES = 10


class LooksUp(Dense):
    """Finds the split that is being evaluated among the locals of its callers, and counts the images that it has seen
    of it."""

    name = "looks_up"
    seen = 0

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        split = _callers_local("split")
        assert isinstance(split, Split)
        logits = one_hot(split.labels[self.seen : self.seen + len(x)], CLASSES).float()
        self.seen = (self.seen + len(x)) % len(split)
        return [Output(logits) for _ in points]


def _callers_local(name: str) -> object:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if name in frame.f_locals:
            return frame.f_locals[name]
        frame = frame.f_back
    return None


class Searches(Dense):
    """Looks for splits among all objects."""

    name = "searches"

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        assert any(type(one) is Split for one in gc.get_objects())
        return super().infer(model, x, points)


class ReadsTheTest(Dense):
    """Trains on the test split, which it reads for itself."""

    name = "reads_the_test"

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        test = load_data(DataSpec(name="digits")).test.read()
        x = (test.images[: len(x)].float() / 255 - 0.3057) / 0.3763
        return super().loss(model, x, test.labels[: len(x)], progress, recipe)


class ReadsTheFile(Dense):
    """Has read the data set while it was built."""

    name = "reads_the_file"

    def __init__(self, config: object) -> None:
        super().__init__(config)
        self.answers = torch.from_numpy(load_digits().target)
