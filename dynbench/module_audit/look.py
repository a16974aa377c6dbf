"""Looks at any module: counts it on every image, alone and in batches, follows its masks, and times it."""

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dynbench.cost import measuring
from dynbench.counter.dispatch import counted
from dynbench.counter.work import Work
from dynbench.errors import AuditFailed
from dynbench.evaluation.audit import TOLERANCE, relative_difference
from dynbench.evaluation.executed import audit_unseen
from dynbench.evaluation.unseen_images import unseen_images
from dynbench.latency.loop import batches_of, by_pass
from dynbench.module_audit.masks import MaskWatch
from dynbench.module_audit.report import MASKED, AuditReport, BatchTiming, Masked

IMAGES = 16
"""Of more images, this many are looked at one by one."""
ROUNDS = 5
SEED = 0
COSTLIEST = "its costliest image"


class First(nn.Module):
    """Gives the first tensor of what `inner` gives: of a tuple, a list, a dict or an object with `logits`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return first_tensor(self.inner(x))


def first_tensor(value: Any) -> Tensor:
    """Return the first tensor in `value`. Raises AuditFailed when there is none."""
    if isinstance(value, Tensor):
        return value
    inside = getattr(value, "logits", None)
    if isinstance(inside, Tensor):
        return inside
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    for one in parts:
        if isinstance(one, Tensor | list | tuple | dict):
            return first_tensor(one)
    raise AuditFailed(f"the module gives {type(value).__name__}, in which there is no tensor")


@dataclass(frozen=True)
class _Look:
    work: Work
    answer: Tensor
    zeroed: Mapping[str, float]


def audit_module(
    module: nn.Module, images: Tensor, dense: nn.Module | None = None, batch_sizes: Sequence[int] = (1, 32)
) -> AuditReport:
    """Look at `module` in evaluation mode on `images` (n, channels, height, width).

    Up to `IMAGES` of them are counted one by one. It is timed at `batch_sizes` (none: not at all) beside `dense`, or
    else beside itself on its costliest image.

    Raises AuditFailed when it computes with an operator whose MACs are not known, takes numbers out of torch, or runs
    something else where nothing watches it.
    """
    executor = First(module)
    some = images[:IMAGES]
    with measuring(executor):
        looks = [_look(executor, image) for image in torch.split(some, 1)]
        whole = max(look.work.macs for look in looks)
        audit_unseen(executor, "never-seen image", unseen_images(some[:1]), whole)
        alone = torch.cat([look.answer for look in looks])
        together = executor(some)
    macs = [look.work.macs for look in looks]
    reference = dense or module
    return AuditReport(
        name=type(module).__name__,
        macs=tuple(macs),
        by_layer=_mean([look.work.by_module for look in looks]),
        by_operator=_mean([look.work.by_operator for look in looks]),
        patterns=tuple(Tally(tuple(sorted(look.work.by_layer.items())) for look in looks).values()),
        reference=COSTLIEST if dense is None else f"the dense {type(dense).__name__}",
        reference_macs=float(whole if dense is None else _macs(dense, some[:1])),
        masked=_masked([look.zeroed for look in looks]),
        alone=sum(not relative_difference(*pair) <= TOLERANCE for pair in zip(together, alone, strict=True)),
        timings=tuple(
            _timing(executor, First(reference), images, some[int(np.argmax(macs))], size, dense is None)
            for size in batch_sizes
        ),
    )


def _look(executor: First, image: Tensor) -> _Look:
    watch = MaskWatch({module: name for name, module in executor.inner.named_modules()})
    with watch.by_module(), watch:
        answer = executor(image)
    if watch.work.refused:
        raise AuditFailed(f"the module computes with {watch.work.refused[0]}: it is not known what that multiplies")
    shares = {layer: watch.zeroed[layer] / times for layer, times in watch.masks.items()}
    return _Look(watch.work, answer, shares)


def _macs(module: nn.Module, images: Tensor) -> float:
    """Of one of the images, on average."""
    with measuring(module):
        work, _ = counted(lambda: module(images))
    return work.macs / len(images)


def _mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in parts:
        for name, value in one.items():
            total[name] = total.get(name, 0.0) + value
    return {name: value / len(parts) for name, value in total.items()}


def _masked(parts: Sequence[Mapping[str, float]]) -> tuple[Masked, ...]:
    return tuple(Masked(layer, share) for layer, share in _mean(parts).items() if share >= MASKED)


def _timing(
    executor: nn.Module, reference: nn.Module, images: Tensor, costliest: Tensor, size: int, itself: bool
) -> BatchTiming:
    """Whole passes in turn, as everywhere. Without a dense module the reference is itself on its costliest image."""
    repeated = images.repeat(-(-size // len(images)), 1, 1, 1)
    batches = batches_of(repeated, size)
    expensive = costliest.expand(size, *costliest.shape).contiguous()

    def beside_it(x: Tensor) -> Tensor:
        answer: Tensor = reference(expensive if itself else x)
        return answer

    with measuring(executor), measuring(reference):
        beside, own = by_pass((beside_it, executor), batches, ROUNDS, SEED)
        macs = sum(_macs(executor, batch) for batch in batches) / len(batches)
        most = _macs(reference, expensive if itself else batches[0])
    saved = macs < most and macs > 0
    ratio = (beside.mean / own.mean) / (most / macs) if saved else None
    return BatchTiming(size, own.percentile(50), own.percentile(95), own.mean, beside.mean, macs, ratio)
