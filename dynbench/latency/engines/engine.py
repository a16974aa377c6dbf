"""What a static engine is."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pkgutil import resolve_name
from typing import ClassVar

import torch
from torch import Tensor, nn

from dynbench.suite.engines import ENGINES

Call = Callable[[Tensor], Tensor]
"""Images (batch, channels, height, width) -> logits (batch, classes)."""


class Engine(ABC):
    """Prepares a whole network for one batch size."""

    name: ClassVar[str]

    @abstractmethod
    def version(self) -> str:
        """Return the version of the installed package; empty when there is none."""

    def unsupported(self, device: torch.device) -> str | None:  # noqa: ARG002
        """Return why this engine cannot be timed here; None when it can."""
        return None

    @abstractmethod
    def prepare(self, net: nn.Module, example: Tensor, threads: int) -> Call:
        """Return what runs `net` on batches of the shape of `example`, on its device, with `threads` CPU threads.

        May raise anything: the engine is then recorded as absent, with the reason.
        """


class EagerPytorch(Engine):
    """PyTorch as it is, call by call."""

    name = "pytorch eager"

    def version(self) -> str:
        return torch.__version__

    def prepare(self, net: nn.Module, example: Tensor, threads: int) -> Call:  # noqa: ARG002
        return net


def load_engine(name: str) -> Engine:
    """Return the engine that suites call `name`. What it deploys on need not be installed: `unsupported` says that."""
    kind: type[Engine] = resolve_name(ENGINES[name])
    return kind()
