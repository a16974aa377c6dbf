"""Whether what was timed is what was evaluated: checked after the timing, in the same process, on the same executor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dynbench.cost import ImageCosts, measuring
from dynbench.data.split import Data
from dynbench.errors import AuditFailed
from dynbench.evaluation.audit import ROUNDED, audit_again, relative_difference
from dynbench.evaluation.batch_independence import FEW, SHARE
from dynbench.evaluation.trained import Trained
from dynbench.evaluation.unseen_images import unseen_images
from dynbench.latency.loop import batches_of, once
from dynbench.method import Point
from dynbench.record.folder import ResultsFolder

AUDITED = 8
"""Timed images that are audited again."""
TIMED = 16
"""This many images at least are timed against variants that nobody has seen, `ROUNDS` times."""
ROUNDS = 5
ATTEMPTS = 3
FASTER = 2.0
"""This many times faster, beyond what the variants cost, a repeated image is one whose answer was kept."""
ACROSS = {"cpu": 1e-3, "cuda": 5e-2}
"""Largest difference of logits from those in another process, perhaps on another device (TF32)."""


@dataclass(frozen=True)
class Timed:
    """An operating point whose executor was timed on `images` (n, channels, height, width), normalised."""

    trained: Trained
    executor: nn.Module
    point: Point
    images: Tensor

    def work(self, batches: Sequence[Tensor]) -> np.ndarray:
        """Return MACs accounted of a batch, and layers of it that ran for one of its images at least.

        The means, float64 (2,).
        """
        found = [(float(one.by_kind.sum()), int((one.by_layer > 0).sum())) for one in self._costs(batches)]
        means: np.ndarray = np.mean(found, axis=0)
        return means

    def macs(self, batches: Sequence[Tensor]) -> np.ndarray:
        """Return MACs accounted of each image of `batches`, int64 (images,)."""
        return np.concatenate([costs.by_kind.sum(1).cpu().numpy() for costs in self._costs(batches)])

    def _costs(self, batches: Sequence[Tensor]) -> Iterator[ImageCosts]:
        for batch in batches:
            (output,) = self.trained.infer(batch, [self.point])
            yield self.trained.costs(output.usage, len(batch))


@dataclass(frozen=True)
class Evaluated:
    """What the evaluation found of one operating point, as far as the record's arrays still know it.

    `logits` (k, classes) of `images`, uint8 (k, channels, height, width); and of the first validation images, which are
    timed, `answers` and `macs` (n,), both empty in older records.
    """

    images: Tensor
    logits: np.ndarray
    answers: np.ndarray
    macs: np.ndarray


def evaluated(results: ResultsFolder, run_id: str, point: Point, data: Data) -> Evaluated:
    """Read it. Older records have the logits of the first validation images, and perhaps none."""
    arrays = results.arrays(run_id) if results.arrays_path(run_id).is_file() else {}
    images = data.validation.images
    logits = arrays.get(f"{point.name}/audit_logits", np.empty((0, 0), np.float32))
    numbers = arrays.get(f"{point.name}/audit_numbers", np.arange(len(logits)))
    nothing = np.empty(0, np.int64)
    return Evaluated(
        images[torch.from_numpy(numbers)],
        logits[: len(numbers)],
        arrays.get(f"{point.name}/val_answers", nothing),
        arrays.get(f"{point.name}/val_macs", nothing),
    )


def check_timed_executor(timed: Timed, sizes: tuple[int, ...], known: Evaluated) -> None:
    """Check that what was timed is what was evaluated.

    Raises AuditFailed when the answers are not those of the evaluation, when the executor does not execute what is
    accounted, or when images that it has seen are far faster than others.
    """
    with measuring(timed.trained.model):
        _check_logits(timed, known)
        _check_as_evaluated(timed, known)
        for size in sizes:
            _check_not_remembered(timed, size)
        audit_again(timed.trained, timed.executor, timed.images[:AUDITED], timed.point, sizes)


def _check_as_evaluated(timed: Timed, known: Evaluated) -> None:
    """Classes and MACs of the timed images, which `realised` is computed from, are those of the evaluation."""
    count = min(len(known.answers), len(timed.images))
    if not count:
        return
    (output,) = timed.trained.infer(timed.images[:count], [timed.point])
    classes = output.logits.argmax(1).cpu().numpy() != known.answers[:count]
    macs = timed.trained.costs(output.usage, count).by_kind.sum(1).cpu().numpy()
    moved = abs(int(macs.sum()) - int(known.macs[:count].sum())) / max(1, int(known.macs[:count].sum()))
    if int(classes.sum()) > max(FEW, SHARE * count) or moved > SHARE:
        raise AuditFailed(
            f'point "{timed.point.name}": where it is timed, infer gives {int(classes.sum())} of {count} images '
            f"another class than where it was evaluated, and their MACs moved by {100 * moved:.2g} %"
        )


def _check_logits(timed: Timed, known: Evaluated) -> None:
    images = timed.trained.normalise(known.images.to(timed.images.device))
    expected = torch.from_numpy(known.logits).to(images.device)
    limit = ACROSS[images.device.type]
    differ = []
    for index, (image, logits) in enumerate(zip(torch.split(images, 1), expected, strict=True)):
        (answer,) = timed.trained.infer(image, [timed.point])
        if not relative_difference(answer.logits[0], logits) <= limit:
            differ.append(index)
    if len(differ) > ROUNDED:
        raise AuditFailed(
            f'point "{timed.point.name}": where it is timed, infer gives other logits than where it was evaluated, on '
            f"{len(differ)} of {len(expected)} images (image {differ[0]})"
        )


def _check_not_remembered(timed: Timed, size: int) -> None:
    """A machine has hiccups: only what is found every time is a finding."""
    batches = batches_of(timed.images, size)[: max(1, TIMED // size)]
    ratio = float("inf")
    for _ in range(ATTEMPTS if batches else 0):
        ratio = min(ratio, _times_faster(timed, batches))
        if ratio <= FASTER:
            return
    if batches:
        raise AuditFailed(
            f'point "{timed.point.name}", batch size {size}: images that it was timed on are {ratio:.1f} times '
            "faster than others; the executor keeps answers"
        )


def _times_faster(timed: Timed, batches: list[Tensor]) -> float:
    """Return the time of never-seen variants over that of the batches themselves, per unit of work.

    Work is what the variants take more in MACs, or in layers: in a small net, one image of a batch that stays behind
    takes as much time as all of it. Of each batch, the shortest of `ROUNDS` times: what interrupts a call makes it
    longer, never shorter.
    """
    variants = [[unseen_images(batch) for batch in batches] for _ in range(ROUNDS)]
    repeated, fresh = np.empty((ROUNDS, len(batches))), np.empty((ROUNDS, len(batches)))
    with torch.inference_mode():
        for turn in range(ROUNDS):
            for index, batch in enumerate(batches):
                repeated[turn, index] = once(timed.executor, batch)
                fresh[turn, index] = once(timed.executor, variants[turn][index])
    more = timed.work([one for some in variants for one in some]) / timed.work(batches).clip(1.0)
    return float(fresh.min(axis=0).sum() / repeated.min(axis=0).sum() / max(1.0, *more))
