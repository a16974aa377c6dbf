"""Training that is not the trainer's: optimizer steps that nobody asked for, parameters changed by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import SystemRandom
from typing import Any

from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from dynbench.errors import AuditFailed
from dynbench.guards.frozen_weights import fingerprint


class Steps:
    """How many steps the optimizers of this process have made, whoever owns them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1


@contextmanager
def steps_are(expected: int, doing: str) -> Iterator[None]:
    """Raises AuditFailed when all optimizers together make another number of steps than `expected`."""
    steps = Steps()
    handle = register_optimizer_step_post_hook(steps)
    try:
        yield
    finally:
        handle.remove()
    if steps.count != expected:
        raise AuditFailed(f"{doing}, optimizers made {steps.count} steps where the trainer made {expected}")


class ByHand:
    """Watches one step of an epoch, which a plugin cannot foresee, for parameters that the loss changes itself: one of
    those from number `start` to before `end`."""

    def __init__(self, model: nn.Module, start: int, end: int) -> None:
        self._model, self._step = model, SystemRandom().randrange(start, end)

    @contextmanager
    def loss(self, step: int, doing: str) -> Iterator[None]:
        """Around the loss of step number `step`. Raises AuditFailed when a parameter changed in it; buffers may."""
        if step != self._step:
            yield
            return
        before = self._print()
        yield
        if self._print() != before:
            raise AuditFailed(f"{doing}, the loss changed parameters itself; that is the optimizer's part")

    def _print(self) -> str:
        return fingerprint(dict(self._model.named_parameters()))
