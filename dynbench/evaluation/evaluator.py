"""From a trained model to its results: accuracy and MACs per image, evaluated twice, audited, tested once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from dynbench.context import Context
from dynbench.cost import CostModel, LayerCost, static_costs
from dynbench.data import Data, Split
from dynbench.data.augment import Normalise
from dynbench.evaluation.audit import AUDITED_IMAGES, Audit, audit
from dynbench.evaluation.batch_independence import check_alone, differing, other_order, other_size
from dynbench.evaluation.evaluate import PointEvaluation, evaluate, predict
from dynbench.guards.frozen_weights import kept
from dynbench.guards.optimizer_steps import steps_are
from dynbench.guards.side_effects import watched
from dynbench.method import Method, Point
from dynbench.plan.run import Run
from dynbench.record.schema import LayerMacs, Macs, PointRecord

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Evaluator:
    """Evaluates one trained model, the same way every time."""

    method: Method
    model: nn.Module
    data: Data
    layers: tuple[LayerCost, ...]
    run: Run
    context: Context

    @property
    def costs(self) -> CostModel:
        return CostModel(self.layers, self.context.device)

    @property
    def points(self) -> Sequence[Point]:
        with watched("naming its points"):
            return self.method.points(self.model)

    @property
    def normalise(self) -> Normalise:
        return self.data.normalise(self.context.device, self.run.recipe.channels_last)

    def on(self, split: Split) -> tuple[PointEvaluation, ...]:
        # Labels stay where they are: copies on the device would be true ones while the plugin runs.
        on_device = Split(split.images.to(self.context.device), split.labels)
        size = self.context.evaluation.batch_size
        processes = self.context.processes
        return evaluate(self.method, self.model, on_device, self.normalise, self.costs, self.points, size, processes)

    def beside_others(self, first: Sequence[PointEvaluation]) -> None:
        """Validation images in another order and batch size: raises AuditFailed when that changes their answers from
        those of the `first` time."""
        images = self.data.validation.images.to(self.context.device)
        processes, points = self.context.processes, self.points
        size, order = self.context.evaluation.batch_size, processes.from_first(other_order(len(images)))
        chosen, size = images[order.to(images.device)], other_size(size, len(order))
        again = predict(self.method, self.model, chosen, self.normalise, self.costs, points, size, processes)
        for point, one, other in zip(points, first, again, strict=True):
            doubtful = differing(one, other, order)
            if doubtful:
                check_alone(self.method, self.model, images, self.normalise, doubtful, point, self.costs)

    def audit(self) -> tuple[Audit, ...]:
        images = self.data.validation.images[:AUDITED_IMAGES].to(self.context.device)
        return audit(self.method, self.model, self.normalise(images), self.points, self.costs)


def measure(
    method: Method, model: nn.Module, data: Data, run: Run, context: Context
) -> tuple[tuple[PointRecord, ...], Arrays]:
    """Evaluate on validation twice, which must agree; audit on validation images; read the test split once.

    Raises ValueError when two evaluations differ, AuditFailed when executed and accounted MACs do, when answers depend
    on the batch or follow made-up labels, or when the weights change meanwhile. Of several processes the first one
    audits, and has the results; the others have none.
    """
    evaluator = _Evaluator(method, model, data, static_costs(model, data.shape), run, context)
    with kept(model, "while it was evaluated"), steps_are(0, "while it was evaluated"):
        validation = evaluator.on(data.validation)
        _check_same(validation, evaluator.on(data.validation))
        evaluator.beside_others(validation)
    with kept(model, "while it was audited"), steps_are(0, "while it was audited"):
        audits = evaluator.audit() if context.processes.first else ()
    with kept(model, "on the test split"), steps_are(0, "on the test split"):
        test = evaluator.on(data.test.read())
    if not context.processes.first:
        return (), {}
    points = tuple(_point(v, t, a, evaluator.layers) for v, t, a in zip(validation, test, audits, strict=True))
    return points, _arrays(test, audits)


def _arrays(test: Sequence[PointEvaluation], audits: Sequence[Audit]) -> Arrays:
    arrays = {
        f"{result.point}/{name}": array
        for result in test
        for name, array in (
            ("correct", result.correct),
            ("correct5", result.correct5),
            ("macs", result.total_macs),
        )
    }
    return arrays | {f"{one.point}/audit_logits": one.logits for one in audits if one.images}


def _check_same(first: Sequence[PointEvaluation], second: Sequence[PointEvaluation]) -> None:
    for one, other in zip(first, second, strict=True):
        if not (np.array_equal(one.answers, other.answers) and np.array_equal(one.macs, other.macs)):
            raise ValueError(
                f'evaluating point "{one.point}" twice gave two answers: '
                f"{(one.answers != other.answers).sum()} images differ in their class, "
                f"{(one.total_macs != other.total_macs).sum()} in MACs; is there noise left on in evaluation?"
            )


def _point(
    validation: PointEvaluation, test: PointEvaluation, audited: Audit, layers: Sequence[LayerCost]
) -> PointRecord:
    total = test.total_macs
    backbone, shortcuts, gates = test.macs.mean(axis=0).tolist()
    return PointRecord(
        name=test.point,
        val_top1=validation.top1,
        val_macs=float(validation.total_macs.mean()),
        test_top1=test.top1,
        test_top5=test.top5,
        macs=Macs(
            mean=float(total.mean()),
            p50=float(np.percentile(total, 50)),
            p95=float(np.percentile(total, 95)),
            max=int(total.max()),
            backbone=backbone,
            shortcuts=shortcuts,
            gates=gates,
        ),
        layers=tuple(
            LayerMacs(name=layer.name, kind=layer.kind, macs=layer.macs, mean=mean)
            for layer, mean in zip(layers, test.layer_macs.tolist(), strict=True)
        ),
        audited=audited.images > 0,
        audit_images=audited.images,
        audit_difference=audited.difference,
    )
