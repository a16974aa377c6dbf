"""Whether what was timed is what was evaluated: checked after the timing, in the same process, on the same executor."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dynbench.cost import measuring
from dynbench.errors import AuditFailed
from dynbench.evaluation.audit import ROUNDED, audit_again, relative_difference
from dynbench.evaluation.trained import Trained
from dynbench.evaluation.unseen_images import unseen_images
from dynbench.latency.loop import batches_of, once
from dynbench.method import Point
from dynbench.record.folder import ResultsFolder

AUDITED = 8
"""Timed images that are audited again."""
TIMED = 16
"""So many images at least are timed against variants that nobody has seen, `ROUNDS` times."""
ROUNDS = 5
ATTEMPTS = 3
FASTER = 2.0
"""So many times faster, beyond what the variants cost in MACs, a repeated image is one whose answer was kept."""
ACROSS = {"cpu": 1e-3, "cuda": 5e-2}
"""Largest difference of logits from those in another process, perhaps on another device (TF32)."""


@dataclass(frozen=True)
class Timed:
    """An operating point whose executor was timed on `images` (n, channels, height, width), normalised."""

    trained: Trained
    executor: nn.Module
    point: Point
    images: Tensor

    def mean_macs(self, batches: Sequence[Tensor]) -> float:
        """MACs accounted of an image of `batches`, on average."""
        return float(self.macs(batches).sum()) / sum(map(len, batches))

    def macs(self, batches: Sequence[Tensor]) -> np.ndarray:
        """MACs accounted of each image of `batches`, int64 (images,)."""
        accounted = []
        for batch in batches:
            (output,) = self.trained.infer(batch, [self.point])
            accounted.append(self.trained.costs(output.usage, len(batch)).by_kind.sum(1).cpu().numpy())
        return np.concatenate(accounted)


def check_timed_executor(timed: Timed, sizes: tuple[int, ...], results: ResultsFolder, run_id: str) -> None:
    """Raises AuditFailed when the answers are not those of the evaluation, when the executor does not execute what is
    accounted, or when images that it has seen are far faster than others."""
    with measuring(timed.trained.model):
        _check_logits(timed, _evaluated_logits(results, run_id, timed.point))
        for size in sizes:
            _check_not_remembered(timed, size)
        audit_again(timed.trained, timed.executor, timed.images[:AUDITED], timed.point)


def _evaluated_logits(results: ResultsFolder, run_id: str, point: Point) -> np.ndarray:
    """Of the first validation images, (images, classes); none in older records."""
    if not results.arrays_path(run_id).is_file():
        return np.empty((0, 0), np.float32)
    return results.arrays(run_id).get(f"{point.name}/audit_logits", np.empty((0, 0), np.float32))


def _check_logits(timed: Timed, evaluated: np.ndarray) -> None:
    expected = torch.from_numpy(evaluated).to(timed.images.device)
    limit = ACROSS[timed.images.device.type]
    differ = []
    for index, (image, logits) in enumerate(zip(torch.split(timed.images, 1), expected, strict=False)):
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
    """Time of never-seen variants over that of the batches themselves, divided by what the variants take more in MACs.
    Of each batch, the shortest of `ROUNDS` times: what interrupts a call makes it longer, never shorter."""
    variants = [[unseen_images(batch) for batch in batches] for _ in range(ROUNDS)]
    repeated, fresh = np.empty((ROUNDS, len(batches))), np.empty((ROUNDS, len(batches)))
    with torch.inference_mode():
        for turn in range(ROUNDS):
            for index, batch in enumerate(batches):
                repeated[turn, index] = once(timed.executor, batch)
                fresh[turn, index] = once(timed.executor, variants[turn][index])
    more = timed.mean_macs([one for some in variants for one in some]) / max(1.0, timed.mean_macs(batches))
    return float(fresh.min(axis=0).sum() / repeated.min(axis=0).sum()) / max(1.0, more)
