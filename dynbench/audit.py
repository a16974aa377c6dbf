"""The audit: on real images, one at a time, what the executor dispatches equals what was accounted, exactly.

Executed MACs come from `torch.utils.flop_counter` (2 per MAC), which sees the operations and their shapes and nothing
of what the method claims. The executor's logits must equal `infer`'s.

A gate whose score is zero but for rounding may open in `infer` and stay shut in the executor, which sums in another
order. An image that differs in fp32 is therefore looked at again in float64, where that does not happen; it may be one
of the sample.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dynbench.cost import CostModel, evaluating
from dynbench.errors import AuditFailed
from dynbench.executors import module_by_module
from dynbench.method import Method, Point

TOLERANCE = 1e-4
"""Largest difference of logits, relative to the image's largest logit: fp32 sums in another order, nothing more."""
ROUNDED = 1
"""Images of a sample that may need float64."""


@dataclass(frozen=True)
class Audit:
    """One operating point: on how many images it was audited (0: there is no executor, the method is simulated), and
    the largest relative difference of logits."""

    point: str
    images: int
    difference: float


def audit(
    method: Method, model: nn.Module, images: Tensor, points: Sequence[Point], costs: CostModel
) -> tuple[Audit, ...]:
    """Audit every operating point on `images` (n, channels, height, width), normalised.

    Raises AuditFailed, naming image, layer and both figures, when executed and accounted MACs or logits differ.
    """
    with evaluating(model):
        return tuple(_audit_point(method, model, images, point, costs) for point in points)


def _audit_point(method: Method, model: nn.Module, images: Tensor, point: Point, costs: CostModel) -> Audit:
    executor = method.executor(model, point)
    if executor is None:
        return Audit(point.name, 0, 0.0)
    subject = _Subject(method, model, executor.eval(), point, costs)
    differences: list[float] = []
    doubtful = 0
    for index in range(len(images)):
        image = images[index : index + 1]
        try:
            differences.append(_audit_image(subject, index, image))
        except AuditFailed:
            doubtful += 1
            if doubtful > ROUNDED:
                raise
            _audit_image(subject.in_float64(), index, image.double())
    return Audit(point.name, len(images), max(differences, default=0.0))


@dataclass(frozen=True)
class _Subject:
    method: Method
    model: nn.Module
    executor: nn.Module
    point: Point
    costs: CostModel

    def in_float64(self) -> "_Subject":
        model = deepcopy(self.model).double()
        executor = self.method.executor(model, self.point)
        assert executor is not None
        return _Subject(self.method, model, executor.eval(), self.point, self.costs)


def _audit_image(subject: _Subject, index: int, image: Tensor) -> float:
    """The relative difference of logits on one image (1, channels, height, width)."""
    (expected,) = subject.method.infer(subject.model, image, [subject.point])
    accounted = subject.costs(expected.usage, 1)
    with FlopCounterMode(display=False) as counter:
        logits = subject.executor(image)
    executed, total = counter.get_total_flops() // 2, int(accounted.by_kind.sum())
    where = f'point "{subject.point.name}", image {index}'
    if executed != total:
        layer = _first_difference(subject, image, accounted.by_layer)
        raise AuditFailed(f"{where}: {executed} MACs were executed and {total} accounted{layer}")
    difference = float((logits - expected.logits).abs().max() / expected.logits.abs().max())
    if not difference <= TOLERANCE:
        raise AuditFailed(f"{where}: the executor's logits differ from infer's by {difference:.2g} of the largest")
    return difference


def _first_difference(subject: _Subject, image: Tensor, accounted: Tensor) -> str:
    """The first part of the executor that ran something else than was accounted, where parts name their layers."""
    with module_by_module(), FlopCounterMode(display=False) as counter:
        subject.executor(image)
    macs = {layer.name: int(one) for layer, one in zip(subject.costs.layers, accounted.tolist(), strict=True)}
    root = type(subject.executor).__name__
    for name, module in subject.executor.named_modules():
        layers = getattr(module, "layers", ())
        executed = sum(counter.get_flop_counts().get(f"{root}.{name}", {}).values()) // 2
        total = sum(macs.get(layer, 0) for layer in layers)
        if layers and executed != total:
            return f"; layer {' and '.join(layers)}: {executed} executed, {total} accounted"
    return ""
