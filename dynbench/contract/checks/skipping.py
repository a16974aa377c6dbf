"""Executors: what is timed really skips, and gives what was evaluated."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dynbench.contract.checks.evaluation import ROUNDED
from dynbench.contract.promise import DoesNotApply
from dynbench.contract.same_results import TOLERANCE, far_apart, split_batches
from dynbench.contract.skipped import Probe
from dynbench.errors import AuditFailed
from dynbench.evaluation.trained import Trained
from dynbench.method import Point

if TYPE_CHECKING:
    from dynbench.contract.subject import Subject


AUDITED = 8
PROBED = 2
SIMULATED = "it has no executor: it counts as simulated, and no latency is given"


def _executors(subject: "Subject") -> Iterator[tuple[str, Trained, Point]]:
    """Every model and operating point that has an executor. Raises DoesNotApply when there is none."""
    none = True
    for label, trained in subject.models.items():
        for point in trained.points:
            if trained.executor(point) is not None:
                none = False
                yield f'{label}, point "{point.name}"', trained, point
    if none:
        raise DoesNotApply(SIMULATED)


def audited(subject: "Subject") -> str | None:
    """The executor runs exactly the MACs that usage accounts for, image by image, and gives the logits of `infer`."""
    executors = list(_executors(subject))
    for label, trained in subject.models.items():
        points = [point for _, of, point in executors if of is trained]
        try:
            trained.audit(subject.data.validation.images[:AUDITED], points, TOLERANCE)
        except AuditFailed as error:
            return f"{label}: {error}"
    return None


def batches(subject: "Subject") -> str | None:
    """The executor gives a batch what `infer` gives its images: batches are timed too."""
    x = subject.images(12)
    for where, trained, point in _executors(subject):
        problem = _batch_differs(trained, point, x)
        if problem:
            return f"{where}: {problem}"
    return None


def _batch_differs(trained: Trained, point: Point, x: Tensor) -> str | None:
    executor = trained.executor(point)
    assert executor is not None
    (expected,) = trained.infer(x, [point])
    with torch.inference_mode():
        logits = executor(x)
    if logits.shape != expected.logits.shape:
        return f"logits have shape {tuple(logits.shape)}, expected {tuple(expected.logits.shape)}"
    different = far_apart(expected.logits, logits)
    if int(different.sum()) <= ROUNDED:
        return None
    image = int(different.nonzero()[0, 0])
    return f"{int(different.sum())} of {len(x)} images get other logits, image {image} first"


def skipped_weights(subject: "Subject") -> str | None:
    """Weights that usage says were skipped are not read: overwritten with NaN, they change nothing."""
    last = list(subject.models.values())[-1]  # random gates, where there are any, skip most
    for where, trained, point in _executors(subject):
        if trained is not last:
            continue
        probe = Probe(trained, point)
        for index, image in enumerate(split_batches(subject.images(PROBED))):
            with torch.no_grad():
                problem = probe.problem(image)
            if problem:
                return f"{where}, image {index}: {problem}"
    return None
