"""The audit: on real images, alone and in batches, what the executor dispatches equals what was accounted, exactly.

Executed MACs come from `dynbench.counter`, which sees the operations and their shapes and nothing of what the method
claims. The executor's logits must equal `infer`'s.

A gate whose score is zero but for rounding may open in `infer` and stay shut in the executor, which sums in another
order. An image that differs in fp32 is therefore looked at again in float64, where that does not happen; it may be one
of the sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dynbench.cost import CostModel, measuring
from dynbench.errors import AuditFailed
from dynbench.evaluation.executed import audit_unseen, executed_macs
from dynbench.evaluation.layer_by_layer import LayersRan, layer_by_layer
from dynbench.evaluation.unseen_images import unseen_images
from dynbench.guards.side_effects import watched
from dynbench.kernels.cpu import operators as native
from dynbench.method import Output, Point

AUDITED_IMAGES = 16
TOLERANCE = 1e-4
"""Largest difference of logits, relative to the image's largest logit: fp32 sums in another order, nothing more."""
ROUNDED = 1
"""Images of a sample that may need float64."""
UNSEEN = 4
"""Variants of this many images are audited that nobody has seen; twice, with new variants."""


@dataclass(frozen=True)
class Audit:
    """One operating point.

    On how many images it was audited (0: there is no executor, the method is simulated), the largest relative
    difference of logits, and of each image alone what `infer` says: logits, float32 (images, classes), and MACs by
    kind, int64 (images, 3).
    """

    point: str
    images: int
    difference: float
    logits: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    macs: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.int64))


class Auditable(Protocol):
    """What is audited: a model, what is accounted for it, and what it really executes."""

    @property
    def model(self) -> nn.Module:
        """Return the model that accounts for usage."""

    @property
    def costs(self) -> CostModel:
        """Return the model's static costs."""

    def infer(self, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        """Return the accounted answers on normalised images (batch, channels, height, width)."""

    def executor(self, point: Point) -> nn.Module | None:
        """Return what really skips, in evaluation mode; None: there is no such thing."""

    def in_float64(self) -> "Auditable":
        """Return a copy of it all in float64."""


def audit(
    subject: Auditable, images: Tensor, points: Sequence[Point], tolerance: float = TOLERANCE
) -> tuple[Audit, ...]:
    """Audit every operating point on `images` (n, channels, height, width), normalised.

    First on variants of some that nobody has seen before, each of them twice. `tolerance` is as `TOLERANCE`.

    Raises AuditFailed, naming image, layer and both figures, when executed and accounted MACs or logits differ, and
    when an executor does what the counter cannot see.
    """
    native.available()  # may compile the kernels, which takes processes: not the plugin's
    with measuring(subject.model), watched("while it was audited"):
        return tuple(_audit_point(subject, images, point, tolerance) for point in points)


def audit_again(
    subject: Auditable, executor: nn.Module, images: Tensor, point: Point, sizes: Sequence[int] = ()
) -> None:
    """Audit an executor that has been in use on `images` (n, channels, height, width).

    On these, and on variants of one that nobody has seen. Raises AuditFailed as `audit` does. The caller sets the mode
    (evaluation).
    """
    used = _AtPoint(subject, executor, point)
    _audit_unseen(used, "never-seen image", unseen_images(images[:1]))
    _in_turn(used, "image", images)
    for size in sizes:
        if size > 1:
            _audit_batch(used, unseen_images(images.repeat(-(-size // len(images)), 1, 1, 1)[:size]))


def _audit_point(subject: Auditable, images: Tensor, point: Point, tolerance: float) -> Audit:
    executor = subject.executor(point)
    if executor is None:
        return Audit(point.name, 0, 0.0)
    at = _AtPoint(subject, executor, point, tolerance)
    for index, image in enumerate(torch.split(unseen_images(images[:UNSEEN]), 1)):
        _audit_unseen(at, f"never-seen image {index}", image)
    _in_turn(at, "never-seen image", unseen_images(images[:UNSEEN]))
    looks = _in_turn(at, "image", images)
    if len(images) > 1:
        _audit_batch(at, unseen_images(images))
    if not looks:
        return Audit(point.name, 0, 0.0)
    _audit_layers(at, images[:1], "image 0")
    logits = torch.cat([look.logits for look in looks]).float().cpu().numpy()
    macs = torch.cat([look.macs for look in looks]).cpu().numpy()
    return Audit(point.name, len(images), max(look.difference for look in looks), logits, macs)


def _in_turn(at: "_AtPoint", what: str, images: Tensor) -> list["_Look"]:
    """Each of the images; of all, `ROUNDED` may need float64."""
    looks = []
    doubtful = 0
    for index, image in enumerate(torch.split(images, 1)):
        try:
            looks.append(_audit_image(at, f"{what} {index}", image))
        except AuditFailed as found:
            doubtful += 1
            if doubtful > ROUNDED:
                raise
            looks.append(_in_float64(at, f"{what} {index}", image, found))
    return looks


def _in_float64(at: "_AtPoint", what: str, image: Tensor, found: AuditFailed) -> "_Look":
    """The look at one image again; a plugin that cannot do float64 has no second look, and what was `found` stands."""
    try:
        double = _audit_image(at.in_float64(), what, image.double())
        (output,) = at.subject.infer(image, [at.point])
    except AuditFailed:
        raise
    except Exception as error:
        raise found from error
    return _Look(0.0, output.logits, double.macs)


@dataclass(frozen=True)
class _AtPoint:
    """The subject at one operating point, and what it executes there."""

    subject: Auditable
    executor: nn.Module
    point: Point
    tolerance: float = TOLERANCE

    @property
    def costs(self) -> CostModel:
        return self.subject.costs

    def in_float64(self) -> "_AtPoint":
        subject = self.subject.in_float64()
        executor = subject.executor(self.point)
        assert executor is not None
        return replace(self, subject=subject, executor=executor)


@dataclass(frozen=True)
class _Look:
    """The relative difference of logits on one image, and `infer`'s logits (1, classes) and MACs (1, 3)."""

    difference: float
    logits: Tensor
    macs: Tensor


def _audit_unseen(at: _AtPoint, what: str, image: Tensor) -> None:
    whole = sum(layer.macs for layer in at.costs.layers)
    audit_unseen(at.executor, f'point "{at.point.name}", {what}', image, whole)


def _audit_image(at: _AtPoint, what: str, image: Tensor) -> _Look:
    """One image (1, channels, height, width): the executor first, which then cannot read what `infer` has found."""
    where = f'point "{at.point.name}", {what}'
    executed, logits = executed_macs(at.executor, image, where)
    (expected,) = at.subject.infer(image, [at.point])
    accounted = at.costs(expected.usage, 1)
    total = int(accounted.by_kind.sum())
    if executed != total:
        layer = _first_difference(at, image, accounted.by_layer)
        raise AuditFailed(f"{where}: {executed} MACs were executed and {total} accounted{layer}")
    _check_shape(where, logits, expected.logits)
    difference = relative_difference(logits, expected.logits)
    if not difference <= at.tolerance:
        raise AuditFailed(f"{where}: the executor's logits differ from infer's by {difference:.2g} of the largest")
    return _Look(difference, expected.logits, accounted.by_kind)


def _audit_batch(at: _AtPoint, images: Tensor) -> None:
    """Compare the executor with `infer` on images (batch, channels, height, width) together.

    The executor gives each what `infer` gives it, and does for it the work that was accounted, or more.
    """
    where = f'point "{at.point.name}", a batch of {len(images)}'
    executed, logits = executed_macs(at.executor, images, where)
    (expected,) = at.subject.infer(images, [at.point])
    _check_shape(where, logits, expected.logits)
    differ = [
        index
        for index, (one, other) in enumerate(zip(logits, expected.logits, strict=True))
        if not relative_difference(one, other) <= at.tolerance
    ]
    if len(differ) > ROUNDED:
        raise AuditFailed(
            f"{where}: the executor's logits differ from infer's on {len(differ)} images (image {differ[0]})"
        )
    macs = at.costs(expected.usage, len(images)).by_kind.sum(1)
    least = int(macs.sum()) - ROUNDED * int(macs.max())
    if executed < least:
        raise AuditFailed(f"{where}: {executed} MACs were executed and {int(macs.sum())} accounted")


def _check_shape(where: str, logits: Tensor, expected: Tensor) -> None:
    if logits.shape != expected.shape:
        raise AuditFailed(
            f"{where}: the executor's logits have the shape {tuple(logits.shape)}, infer's {tuple(expected.shape)}"
        )


def relative_difference(logits: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest logit expected."""
    return float((logits - expected).abs().max() / expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny))


def _audit_layers(at: _AtPoint, image: Tensor, what: str) -> None:
    """MACs of one image (1, channels, height, width) by layer.

    Gates may not pass for backbone, nor one layer for another. A layer that ran less than was accounted may have run
    where no part names it; one that ran more has not.
    """
    (expected,) = at.subject.infer(image, [at.point])
    for one in _layers_of(at, image, at.costs(expected.usage, 1).by_layer):
        if one.executed > one.accounted:
            raise AuditFailed(
                f'point "{at.point.name}", {what}: as many MACs were executed as accounted, elsewhere{one.words}'
            )


def _first_difference(at: _AtPoint, image: Tensor, accounted: Tensor) -> str:
    """The first part of the executor that ran something other than was accounted, in words."""
    return next((one.words for one in _layers_of(at, image, accounted) if one.executed != one.accounted), "")


def _layers_of(at: _AtPoint, image: Tensor, accounted: Tensor) -> Sequence[LayersRan]:
    macs = {layer.name: int(one) for layer, one in zip(at.costs.layers, accounted.tolist(), strict=True)}
    return layer_by_layer(at.executor, at.subject.model, image, macs)
