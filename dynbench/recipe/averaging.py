"""Averages of a stage's weights, which are then its result: exponential moving average and lookahead."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from dynbench.suite.recipe import AveragingSpec, Ema, Lookahead


class Averaging(Protocol):
    """What a trainer needs of an average: a step after each step of the optimizer, and the result in the end."""

    def step(self) -> None:
        """Take the model's weights in, as the optimizer has left them."""

    def finish(self) -> None:
        """Give the model the averaged weights."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that there is to continue from."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


def make_averaging(spec: AveragingSpec | None, model: nn.Module) -> Averaging | None:
    """Return the average that the recipe asks for, over the model's parameters that are trained now.

    None where it asks for none.
    """
    if isinstance(spec, Ema):
        return EmaAveraging(model, spec.decay)
    if isinstance(spec, Lookahead):
        return LookaheadAveraging(model, spec.k, spec.alpha)
    return None


class _Slow:
    """Slow weights beside those that are trained, the fast ones.

    No step waits for a device: torch's AveragedModel asks its counter, which is a tensor there, at every step.
    """

    def __init__(self, model: nn.Module) -> None:
        self._fast: list[Tensor] = [one for one in model.parameters() if one.requires_grad]
        self._slow = [one.detach().clone() for one in self._fast]
        self._steps = 0

    @torch.no_grad()
    def finish(self) -> None:
        torch._foreach_copy_(self._fast, self._slow)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "slow": self._slow}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps = int(state["steps"])
        torch._foreach_copy_(self._slow, list(state["slow"]))


class EmaAveraging(_Slow):
    """An exponential average (Polyak and Juditsky, 1992), which begins with what the first step leaves."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self._decay = decay

    @torch.no_grad()
    def step(self) -> None:
        self._steps += 1
        if self._steps == 1:
            torch._foreach_copy_(self._slow, self._fast)
        else:
            torch._foreach_lerp_(self._slow, self._fast, 1 - self._decay)


class LookaheadAveraging(_Slow):
    """Slow weights of Zhang et al. (arXiv 1907.08610, algorithm 1); the optimizer's momentum continues as it is."""

    def __init__(self, model: nn.Module, k: int, alpha: float) -> None:
        super().__init__(model)
        self._k, self._alpha = k, alpha

    @torch.no_grad()
    def step(self) -> None:
        self._steps += 1
        if self._steps % self._k == 0:
            torch._foreach_lerp_(self._slow, self._fast, self._alpha)
            self.finish()


def averaging_state(averaging: Averaging | None) -> dict[str, Any] | None:
    """Return what a checkpoint keeps of an average."""
    return None if averaging is None else averaging.state_dict()


def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Take the running statistics of every BN again, as the mean over `batches`.

    Batches are images (batch, channels, height, width). Averaged weights have never seen any (Izmailov et al., arXiv
    1803.05407, section 3.2).
    """
    was_training = model.training
    norms = [one for one in model.train().modules() if isinstance(one, _BatchNorm) and not one.training]
    kept = [deepcopy(norm.state_dict()) for norm in norms]  # update_bn resets all of them
    update_bn(batches, model)
    for norm, state in zip(norms, kept, strict=True):
        norm.load_state_dict(state)
    model.train(was_training)
