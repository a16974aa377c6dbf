"""Methods that misbehave on one process of a process group only."""

import os
import signal
from pathlib import Path
from typing import ClassVar

import torch.distributed as dist
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.stage import Progress
from dynbench.suite.recipe import Recipe

SECOND = 1


def on_the_second() -> bool:
    return dist.is_initialized() and dist.get_rank() == SECOND


class _OnTheSecond(Dense):
    """Does it in its second epoch."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        loss = super().loss(model, x, y, progress, recipe)
        return self.spoilt(loss) if on_the_second() and progress.epoch == 1 else loss

    def spoilt(self, loss: Tensor) -> Tensor:
        raise NotImplementedError


class NanOnOne(_OnTheSecond):
    name = "nan_on_one"

    def spoilt(self, loss: Tensor) -> Tensor:
        return loss * float("nan")


class RaisesOnOne(_OnTheSecond):
    name = "raises_on_one"

    def spoilt(self, loss: Tensor) -> Tensor:
        raise ValueError("no such thing")


class DiesOnOne(_OnTheSecond):
    name = "dies_on_one"

    def spoilt(self, loss: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return loss


class DiesOnce(DiesOnOne):
    """Unless a file is there, which it makes before."""

    name = "dies_once"
    variable: ClassVar[str] = "TEST_DIES_ONCE"

    def spoilt(self, loss: Tensor) -> Tensor:
        mark = os.environ.get(self.variable)
        if mark is None or Path(mark).exists():
            return loss
        Path(mark).touch()
        return super().spoilt(loss)


METHODS = (NanOnOne, RaisesOnOne, DiesOnOne, DiesOnce)
