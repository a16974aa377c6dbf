"""Whether an image's answer depends on the images beside it in the batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dynbench.data.image_files import Images
from dynbench.errors import AuditFailed
from dynbench.evaluation.answers import PointEvaluation, Prediction
from dynbench.evaluation.audit import Audit
from dynbench.evaluation.trained import Trained
from dynbench.guards.side_effects import watched
from dynbench.method import Output, Point

IMAGES = 500
"""This many are answered once more, in another order and other batches."""
SHARE = 0.02
"""Of these may get another class in fp32, and so far may their mean MACs move: rounding does less, on any device."""
FEW = 2
LOOKED_AT = 16
"""Of those that differ, this many are looked at in float64, where rounding decides nothing."""
BESIDE = 128
ROUNDED = 1
TOLERANCE = 1e-6


def other_order(count: int) -> Tensor:
    """Return up to `IMAGES` of `count` image numbers, in an order that nobody knows beforehand.

    Does not touch torch's generator.
    """
    return torch.from_numpy(np.random.default_rng().permutation(count)[:IMAGES])


def other_size(batch_size: int, count: int) -> int:
    """Return a batch size with which `count` images fall into other batches than with `batch_size`."""
    return max(1, min(batch_size, count) // 2 + 1)


def differing(first: PointEvaluation, again: Prediction, order: Tensor) -> list[int]:
    """Return the image numbers whose class or MACs are others in `again`, which took the images in `order`.

    Raises AuditFailed when they are more than rounding could explain.
    """
    numbers = order.numpy()
    classes = first.answers[numbers] != again.top[:, 0].numpy()
    before, after = first.macs[numbers], again.macs
    moved = abs(after.sum() - before.sum()) / max(1, before.sum())
    if int(classes.sum()) > max(FEW, SHARE * len(numbers)) or moved > SHARE:
        raise AuditFailed(
            f'point "{first.point}": in another order and batch size, {int(classes.sum())} of {len(numbers)} images '
            f"got another class and their MACs moved by {100 * moved:.2g} %; infer looks at the batch"
        )
    return [int(number) for number in numbers[classes | (before != after).any(axis=1)]]


def check_as_evaluated(
    trained: Trained, images: Images, audits: Sequence[Audit], found: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Compare what `infer` says of images one at a time with what it said in the evaluation's batches.

    Images are (n, channels, height, width), uint8. `found` is what the evaluation found: for each point the classes
    (n,) and MACs by kind (n, 3).

    Raises AuditFailed when more than one image differs by more than rounding could explain.
    """
    for point, audited, (classes, macs) in zip(trained.points, audits, found, strict=True):
        logits, alone = (audited.logits, audited.macs) if len(audited.logits) else _one_by_one(trained, images, point)
        moved = np.abs(alone - macs).sum(1) > SHARE * macs.sum(1)
        differ = np.flatnonzero((logits.argmax(1) != classes) | moved)
        if len(differ) > ROUNDED:
            raise AuditFailed(
                f'point "{point.name}": {len(differ)} of {len(images)} images that were drawn get another class or '
                f"other MACs alone than where they were evaluated (number {differ[0]}); infer looks at the batch"
            )


def _one_by_one(trained: Trained, images: Images, point: Point) -> tuple[np.ndarray, np.ndarray]:
    x = trained.normalise(images[:].to(trained.device))
    with watched("while it was evaluated"):
        outputs = [trained.infer(one, [point])[0] for one in torch.split(x, 1)]
    macs = [trained.costs(output.usage, 1).by_kind for output in outputs]
    return torch.cat([output.logits for output in outputs]).cpu().numpy(), torch.cat(macs).cpu().numpy()


def check_alone(trained: Trained, images: Images, doubtful: Sequence[int], point: Point) -> None:
    """Check each of the `doubtful` of `images` alone and among others, in float64.

    Images are (n, channels, height, width), uint8.

    Raises AuditFailed when more than one still differs: their answers depend on the batch.
    """
    looked_at = list(doubtful)[:LOOKED_AT]
    others = [number for number in range(len(images)) if number not in looked_at][:BESIDE]
    together = trained.normalise(images[[*looked_at, *others]]).double()
    double = trained.in_float64()
    with watched("while it was evaluated"):
        (batch,) = double.infer(together, [point])
        alone = [double.infer(one[None], [point])[0] for one in together[: len(looked_at)]]
    macs = trained.costs(batch.usage, len(together)).by_kind
    differ = [
        number
        for index, (number, one) in enumerate(zip(looked_at, alone, strict=True))
        if _differs(one, batch, index) or not torch.equal(trained.costs(one.usage, 1).by_kind[0], macs[index])
    ]
    if len(differ) > ROUNDED:
        raise AuditFailed(
            f'point "{point.name}": {len(doubtful)} images got another class or other MACs beside other images, '
            f"{len(differ)} of {len(looked_at)} in float64 too (image {differ[0]}); infer looks at the batch"
        )


def _differs(alone: Output, batch: Output, index: int) -> bool:
    difference = (alone.logits[0] - batch.logits[index]).abs().max()
    return not float(difference) <= TOLERANCE * max(1e-12, float(alone.logits.abs().max()))
