"""Changes to a model that are not the trainer's.

Weights that are others after evaluation, optimizer steps that nobody asked for, parameters changed by hand.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from random import SystemRandom
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from dynbench.errors import AuditFailed


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and every bit of `tensors`."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def kept(model: nn.Module, doing: str) -> Iterator[None]:
    """Check that the model is kept as it is.

    Raises AuditFailed when the model's weights or buffers are others afterwards.
    """
    before = dict(model.state_dict())
    prints = {name: fingerprint({name: tensor}) for name, tensor in before.items()}
    yield
    after = dict(model.state_dict())
    changed = [name for name, old in prints.items() if name not in after or fingerprint({name: after[name]}) != old]
    changed += [name for name in after if name not in prints]
    if changed:
        raise AuditFailed(f"{doing}, the model's weights changed: {', '.join(changed[:3])}")


@contextmanager
def parameters_kept(model: nn.Module, doing: str) -> Iterator[None]:
    """Check that parameters are kept as they are.

    Raises AuditFailed when parameters are others afterwards; buffers may be.
    """
    before = {name: fingerprint({name: one}) for name, one in model.named_parameters()}
    yield
    after = {name: fingerprint({name: one}) for name, one in model.named_parameters()}
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if changed:
        raise AuditFailed(f"{doing}, the plugin changed parameters: {', '.join(changed[:3])}; only buffers may be set")


class Steps:
    """How many steps the optimizers of this process have made, whichever code owns them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1


@contextmanager
def steps_are(expected: int, doing: str) -> Iterator[None]:
    """Check how many steps the optimizers make.

    Raises AuditFailed when all optimizers together make another number of steps than `expected`.
    """
    steps = Steps()
    handle = register_optimizer_step_post_hook(steps)
    try:
        yield
    finally:
        handle.remove()
    if steps.count != expected:
        raise AuditFailed(f"{doing}, optimizers made {steps.count} steps where the trainer made {expected}")


class ByHand:
    """Watches one step of an epoch, which a plugin cannot foresee, for parameters that the loss changes itself.

    One of those from number `start` to before `end`.
    """

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
