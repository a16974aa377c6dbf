"""The audit: on real images, one at a time, what the executor dispatches equals what was accounted, exactly.

Executed MACs come from `torch.utils.flop_counter` (2 per MAC), which sees the operations and their shapes and nothing
of what the method claims. The executor's logits must equal `infer`'s.

A gate whose score is zero but for rounding may open in `infer` and stay shut in the executor, which sums in another
order. An image that differs in fp32 is therefore looked at again in float64, where that does not happen; it may be one
of the sample.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from dynbench.cost import CostModel, evaluating
from dynbench.errors import AuditFailed
from dynbench.evaluation.execution_trace import trace
from dynbench.executors import module_by_module
from dynbench.guards.side_effects import watched
from dynbench.isolate.pulse import alive
from dynbench.kernels.cpu import operators as native
from dynbench.method import Output, Point

SHIFT = 1
NOISE = 0.01


def unseen_images(images: Tensor) -> Tensor:
    """Variants of normalised `images` (n, channels, height, width) that cost about the same: moved by a pixel, flipped
    at random, and with a little noise, new ones at every call. Does not touch torch's generator."""
    rng = np.random.default_rng()
    rows, columns = (int(step) for step in rng.integers(-SHIFT, SHIFT + 1, 2))
    moved = images.roll((rows, columns), (2, 3))
    if rng.random() < 0.5:  # noqa: PLR2004  (half)
        moved = moved.flip(3)
    noise = torch.from_numpy(rng.normal(0, NOISE, tuple(images.shape)))
    return moved + noise.to(images)


AUDITED_IMAGES = 16


EXITS = frozenset({"numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage", "share_memory_"})


class Leaving(TorchFunctionMode):
    """Notes tensors that leave torch. Decisions may be read with item(), bool(), float() and tolist(): `largest` is how
    many floating-point numbers a list may hold, fewer than an image has."""

    def __init__(self, largest: int) -> None:
        super().__init__()
        self._largest = largest
        self.findings: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        if tensor is not None and (name in EXITS or (name == "tolist" and self._is_much(tensor))):
            self.findings.append(f"Tensor.{name} of {tuple(tensor.shape)}")
        return func(*args, **(kwargs or {}))

    def _is_much(self, tensor: Tensor) -> bool:
        return tensor.is_floating_point() and tensor.numel() >= self._largest


TOLERANCE = 1e-4
"""Largest difference of logits, relative to the image's largest logit: fp32 sums in another order, nothing more."""
ROUNDED = 1
"""Images of a sample that may need float64."""
UNSEEN = 4
"""Variants of so many images are audited that nobody has seen; twice, with new variants."""
PRODUCTS = 0.25
"""Products of element-wise operators, as a share of the whole model's MACs: scales and unfolded BN stay far below."""


@dataclass(frozen=True)
class Audit:
    """One operating point: on how many images it was audited (0: there is no executor, the method is simulated), the
    largest relative difference of logits, and `infer`'s logits of the images, float32 (images, classes)."""

    point: str
    images: int
    difference: float
    logits: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))


class Auditable(Protocol):
    """What is audited: a model, what is accounted for it, and what it really executes."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def costs(self) -> CostModel: ...

    def infer(self, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        """The accounted answers on normalised images (batch, channels, height, width)."""

    def executor(self, point: Point) -> nn.Module | None:
        """What really skips, in evaluation mode; None: there is no such thing."""

    def in_float64(self) -> "Auditable":
        """A copy of it all in float64."""


def audit(
    subject: Auditable, images: Tensor, points: Sequence[Point], tolerance: float = TOLERANCE
) -> tuple[Audit, ...]:
    """Audit every operating point on `images` (n, channels, height, width), normalised, and first on variants of some
    that nobody has seen before, each of them twice. `tolerance` is as `TOLERANCE`.

    Raises AuditFailed, naming image, layer and both figures, when executed and accounted MACs or logits differ, and
    when an executor does what the counter cannot see.
    """
    native.available()  # may compile the kernels, which takes processes: not the plugin's
    with FlopCounterMode(display=False):
        torch.zeros(1)  # imports a part of torch when it is first used
    with evaluating(subject.model), watched("while it was audited"):
        return tuple(_audit_point(subject, images, point, tolerance) for point in points)


def audit_again(subject: Auditable, executor: nn.Module, images: Tensor, point: Point) -> None:
    """Audit an executor that has been in use on `images` (n, channels, height, width), on these and on variants of one
    that nobody has seen. Raises AuditFailed as `audit` does. The caller sets the mode (evaluation)."""
    used = _AtPoint(subject, executor, point)
    _audit_unseen(used, "never-seen image", unseen_images(images[:1]))
    _in_turn(used, "image", images)


def _audit_point(subject: Auditable, images: Tensor, point: Point, tolerance: float) -> Audit:
    executor = subject.executor(point)
    if executor is None:
        return Audit(point.name, 0, 0.0)
    at = _AtPoint(subject, executor, point, tolerance)
    for index, image in enumerate(torch.split(unseen_images(images[:UNSEEN]), 1)):
        _audit_unseen(at, f"never-seen image {index}", image)
    _in_turn(at, "never-seen image", unseen_images(images[:UNSEEN]))
    looks = _in_turn(at, "image", images)
    logits = torch.cat([look.logits for look in looks]).float().cpu().numpy() if looks else np.empty((0, 0), np.float32)
    return Audit(point.name, len(images), max((look.difference for look in looks), default=0.0), logits)


def _in_turn(at: "_AtPoint", what: str, images: Tensor) -> list["_Look"]:
    """Each of the images; of all, `ROUNDED` may need float64."""
    looks = []
    doubtful = 0
    for index, image in enumerate(torch.split(images, 1)):
        try:
            looks.append(_audit_image(at, f"{what} {index}", image))
        except AuditFailed:
            doubtful += 1
            if doubtful > ROUNDED:
                raise
            looks.append(_Look(0.0, _audit_image(at.in_float64(), f"{what} {index}", image.double()).logits))
    return looks


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
    """The relative difference of logits on one image, and `infer`'s, (1, classes)."""

    difference: float
    logits: Tensor


def _audit_unseen(at: _AtPoint, what: str, image: Tensor) -> None:
    """What the executor runs on an image (1, channels, height, width) of which nobody can have kept the answer: first
    with no counter that it could notice, then twice with it. All three must be the same."""
    where = f'point "{at.point.name}", {what}'
    seen = trace(lambda: at.executor(image))
    with Leaving(image.numel()) as leaving:
        counts = [executed_macs(at.executor, image)[0] for _ in range(2)]
    if counts[0] != counts[1]:
        raise AuditFailed(f"{where}: {counts[0]} MACs were executed, and {counts[1]} when it came again")
    if seen.macs != counts[0]:
        raise AuditFailed(
            f"{where}: {counts[0]} MACs were executed where the counter sees them, {seen.macs} on all threads with no "
            "counter on"
        )
    if seen.uncounted:
        raise AuditFailed(f"{where}: the executor multiplies with {seen.uncounted[0]}, which has no FLOP formula")
    if leaving.findings:
        raise AuditFailed(
            f"{where}: the executor takes numbers out of torch, where nothing is counted: {leaving.findings[0]}"
        )
    whole = sum(layer.macs for layer in at.costs.layers)
    if seen.products > PRODUCTS * whole:
        raise AuditFailed(
            f"{where}: element-wise operators multiplied {seen.products} numbers, which are no MACs to the counter; "
            f"the whole model has {whole}"
        )


def executed_macs(executor: nn.Module, image: Tensor) -> tuple[int, Tensor]:
    """MACs that `executor` dispatches on images (batch, channels, height, width), and its logits."""
    alive()
    with FlopCounterMode(display=False) as counter:
        logits = executor(image)
    return counter.get_total_flops() // 2, logits


def _audit_image(at: _AtPoint, what: str, image: Tensor) -> _Look:
    """One image (1, channels, height, width): the executor first, which then cannot read what `infer` has found."""
    executed, logits = executed_macs(at.executor, image)
    (expected,) = at.subject.infer(image, [at.point])
    accounted = at.costs(expected.usage, 1)
    total = int(accounted.by_kind.sum())
    where = f'point "{at.point.name}", {what}'
    if executed != total:
        layer = _first_difference(at, image, accounted.by_layer)
        raise AuditFailed(f"{where}: {executed} MACs were executed and {total} accounted{layer}")
    difference = relative_difference(logits, expected.logits)
    if not difference <= at.tolerance:
        raise AuditFailed(f"{where}: the executor's logits differ from infer's by {difference:.2g} of the largest")
    return _Look(difference, expected.logits)


def relative_difference(logits: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest logit expected."""
    return float((logits - expected).abs().max() / expected.abs().max())


def _first_difference(at: _AtPoint, image: Tensor, accounted: Tensor) -> str:
    """The first part of the executor that ran something else than was accounted, where parts name their layers."""
    with module_by_module(), FlopCounterMode(display=False) as counter:
        at.executor(image)
    macs = {layer.name: int(one) for layer, one in zip(at.costs.layers, accounted.tolist(), strict=True)}
    root = type(at.executor).__name__
    for name, module in at.executor.named_modules():
        layers = getattr(module, "layers", ())
        executed = sum(counter.get_flop_counts().get(f"{root}.{name}", {}).values()) // 2
        total = sum(macs.get(layer, 0) for layer in layers)
        if layers and executed != total:
            return f"; layer {' and '.join(layers)}: {executed} executed, {total} accounted"
    return ""
