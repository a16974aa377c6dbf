"""`infer`: the same result for the same image, whatever is around it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dynbench.contract.promise import DoesNotApply
from dynbench.contract.same_results import far_apart, not_the_same, split_batches
from dynbench.data.split import Split
from dynbench.evaluation.trained import Trained

if TYPE_CHECKING:
    from dynbench.contract.subject import Subject


IMAGES = 24
ROUNDED = 1
"""Images whose gates may be decided by rounding: their score is zero but for the order of sums."""


def repeatable(subject: "Subject") -> str | None:
    """The same images give the same logits and the same usage, to the last bit: nothing random is left on."""
    x = subject.images(IMAGES)
    for label, trained in subject.models.items():
        problem = not_the_same(trained.infer(x), trained.infer(x), trained.points)
        if problem:
            return f"{label}: evaluated twice, {problem}; is dropout or noise left on in evaluation?"
    return None


@dataclass(frozen=True)
class _Seen:
    """Of one operating point: logits (batch, classes) and MACs (batch,)."""

    logits: Tensor
    macs: Tensor


def alone(subject: "Subject") -> str | None:
    """An image's result does not depend on the other images of its batch, on their order or their number."""
    x = subject.images(IMAGES)
    for label, trained in subject.models.items():
        problem = _neighbours_matter(trained, x)
        if problem:
            return f"{label}, {problem}"
    return None


def _neighbours_matter(trained: Trained, x: Tensor) -> str | None:
    expected = _seen(trained, x, [torch.arange(len(x))])
    for how, batches in _partitions(len(x)):
        found = _seen(trained, x, batches)
        for point, mine, theirs in zip(trained.points, expected, found, strict=True):
            problem = _dependent(mine, theirs)
            if problem:
                return f'point "{point.name}", {how}: {problem}'
    return None


def _partitions(count: int) -> Iterator[tuple[str, list[Tensor]]]:
    """Ways to put images into batches, in words and as indices."""
    order = torch.arange(count)
    yield "each image alone", split_batches(order)
    yield "in batches of 5", split_batches(order, 5)
    yield "in reverse order", [order.flip(0)]
    yield "beside other images", [torch.cat([order[::3], order[1::3]]), order[2::3]]


def _seen(trained: Trained, x: Tensor, batches: Sequence[Tensor]) -> list[_Seen]:
    """Results by operating point, in the order of `x`."""
    back = torch.cat(list(batches)).argsort()
    outputs = [trained.infer(x[batch]) for batch in batches]
    sizes = [len(batch) for batch in batches]
    return [
        _Seen(
            torch.cat([output.logits for output in of_point])[back],
            torch.cat(
                [trained.costs(output.usage, n).by_kind.sum(1) for output, n in zip(of_point, sizes, strict=True)]
            )[back],
        )
        for of_point in zip(*outputs, strict=True)
    ]


def _dependent(one: _Seen, other: _Seen) -> str | None:
    macs = one.macs != other.macs
    different = macs | far_apart(one.logits, other.logits)
    if int(different.sum()) <= ROUNDED:
        return None
    image = int(different.nonzero()[0, 0])
    change = float((one.logits[image] - other.logits[image]).abs().max())
    spent = f"its MACs from {int(one.macs[image])} to {int(other.macs[image])}" if macs[image] else "its MACs do not"
    return (
        f"{int(different.sum())} of {len(different)} images get a different result than in one batch; of image {image} "
        f"the logits change by {change:.2g}, {spent}"
    )


def usage(subject: "Subject") -> str | None:
    """Each operating point gets finite logits, and usage that names layers with MACs and lies in [0, 1]."""
    x, classes = subject.images(8), subject.data.num_classes
    for label, trained in subject.models.items():
        points, outputs = trained.points, trained.infer(x)
        if len(outputs) != len(points):
            return f"{label}: `infer` gives {len(outputs)} outputs for {len(points)} operating points"
        for point, output in zip(points, outputs, strict=True):
            where = f'{label}, point "{point.name}"'
            if output.logits.shape != (len(x), classes):
                return f"{where}: logits have shape {tuple(output.logits.shape)}, expected ({len(x)}, {classes})"
            if not bool(output.logits.isfinite().all()):
                return f"{where}: logits are not finite"
            try:
                trained.costs(output.usage, len(x))
            except ValueError as error:
                return f"{where}: {error}"
    return None


def static(subject: "Subject") -> str | None:
    """Declared `static`, it spends the same on every image."""
    if not subject.kind.static:
        raise DoesNotApply("it is not declared static")
    for label, trained in subject.models.items():
        for point, output in zip(trained.points, trained.infer(subject.images(IMAGES)), strict=True):
            macs = trained.costs(output.usage, IMAGES).by_kind.sum(1)
            if int(macs.min()) != int(macs.max()):
                return f'{label}, point "{point.name}": {int(macs.min())} to {int(macs.max())} MACs an image'
    return None


def decisions(subject: "Subject") -> str | None:
    """Images differ in what is spent on them: the checks saw that something is skipped, and that it is not."""
    if subject.kind.static:
        raise DoesNotApply("it is declared static")
    for trained in subject.models.values():
        for output in trained.infer(subject.images(IMAGES)):
            macs = trained.costs(output.usage, IMAGES).by_kind.sum(1)
            if int(macs.min()) != int(macs.max()):
                return None
    raise DoesNotApply("all images spent the same, so nothing is known of what it skips; try it with other --param")


def labels(subject: "Subject") -> str | None:
    """What an image gets does not depend on its label: `infer` sees images, nothing else."""
    split = subject.data.validation
    others = Split(split.images, (split.labels + 1) % subject.data.num_classes)
    for label, trained in subject.models.items():
        for one, other in zip(trained.evaluate(split), trained.evaluate(others), strict=True):
            changed = int((one.answers != other.answers).sum())
            if changed:
                return f'{label}, point "{one.point}": {changed} of {len(split)} images are answered differently'
    return None
