"""Eager PyTorch: the reference, and one of the engines."""

import torch
from torch import Tensor, nn

from dynbench.latency.engines.engine import Call, Engine


class Eager(Engine):
    name = "pytorch eager"

    def version(self) -> str:
        return torch.__version__

    def prepare(self, net: nn.Module, example: Tensor, threads: int) -> Call:  # noqa: ARG002
        return net
