"""The dense reference once more, in a process that never imports a plugin: what slows it down beside a method shows.

That process is asked between the passes of the other one, so that both have the same machine.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from typing import Literal

import numpy as np
import torch
from torch import nn

from dynbench.backbones import build_backbone
from dynbench.data import Shape
from dynbench.device import fp32_is_fp32
from dynbench.executors import FoldedBackbone
from dynbench.latency.figures import Samples
from dynbench.latency.loop import by_pass
from dynbench.suite.schema import BackboneSpec

CALLS, LOOKS = 8, 3
"""At most this many calls are timed at a time, after this many of the rounds.

Every image costs a static net the same."""
QUICK = 10
"""Per cent of the calls that are compared with each other: the quickest, which nothing has interrupted."""
SLOWER = 1.5
"""This many times slower beside a plugin, the dense net is not the same net on the same machine. Less is chance on a
busy machine, or their memory's place."""
ATTEMPTS = 3
"""A machine has moods: only what is found so often in a row is a finding."""


@dataclass(frozen=True)
class DenseNet:
    """What is timed: `backbone` for images of `shape` (channels, height, width), of this many `classes`."""

    backbone: BackboneSpec
    shape: Shape
    classes: int

    def made(self, device: torch.device) -> nn.Module:
        """Return the net, BN folded, in evaluation mode. Weights do not change what a static net costs."""
        net = FoldedBackbone(build_backbone(self.backbone, self.shape, self.classes), kernels=False)
        return net.to(device).eval()


class DenseApart:
    """Asks the process at the other end of `pipe`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def samples(self, net: DenseNet, size: int, calls: int) -> np.ndarray:
        """Return milliseconds of `calls` calls on batches of `size`, float64 (calls,)."""
        self._pipe.send((net, size, calls))
        taken: np.ndarray = self._pipe.recv()
        return taken


@contextmanager
def dense_apart(device: str, threads: int | None, start: Literal["fork", "spawn"]) -> Iterator[DenseApart]:
    """Run the process inside the block, with this many threads of PyTorch (None: PyTorch's own choice).

    `start` as `multiprocessing` has it: a fork must come before anything is computed and before a plugin is imported.
    """
    context = multiprocessing.get_context(start)
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(ours, theirs, device, threads), daemon=True)  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    try:
        yield DenseApart(ours)
    finally:
        ours.close()  # which ends it
        process.join()


def _serve(theirs: Connection, pipe: Connection, device: str, threads: int | None) -> None:
    theirs.close()
    fp32_is_fp32()
    if threads is not None:
        torch.set_num_threads(threads)
    nets: dict[DenseNet, nn.Module] = {}
    where = torch.device(device)
    with torch.inference_mode():
        while True:
            try:
                net, size, calls = pipe.recv()
            except EOFError:
                return
            if net not in nets:
                nets[net] = net.made(where)
            batches = [torch.randn(size, *net.shape, device=where)] * calls
            pipe.send(by_pass([nets[net]], batches, 1, 0)[0].ms[0])


@dataclass
class Beside:
    """Looks at the dense net of another process between the passes of one timing.

    The timing has batches of `size`, of which there are `batches`. Without a process, `apart` is None, and nothing is
    looked at.
    """

    apart: DenseApart | None
    net: DenseNet
    size: int
    batches: int
    also: Callable[[], None]
    """Called after every pass too."""
    _passes: Iterator[int] = field(default_factory=lambda: count(1))
    _taken: list[np.ndarray] = field(default_factory=list)

    def __call__(self) -> None:
        """After a pass; a round has two."""
        self.also()
        if self.apart is not None and not next(self._passes) % 2 and len(self._taken) < LOOKS:
            self._taken.append(self.apart.samples(self.net, self.size, min(CALLS, self.batches)))

    @property
    def samples(self) -> Samples | None:
        """Of its calls, (looks, calls); None where nobody was asked."""
        return Samples(np.stack(self._taken)) if self._taken else None


def times_slower(reference: Samples, apart: Samples | None) -> float:
    """Return how many times longer the quickest calls took beside the plugin than `apart`.

    0 where that is not known.
    """
    return 0.0 if apart is None else reference.percentile(QUICK) / apart.percentile(QUICK)
