"""From a trained model to its results: accuracy and MACs per image, evaluated twice, audited, tested once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from dynbench.audit import Audit, audit
from dynbench.context import Context
from dynbench.cost import CostModel, LayerCost, static_costs
from dynbench.data import Data
from dynbench.evaluate import PointEvaluation, evaluate
from dynbench.method import Method
from dynbench.plan import Run
from dynbench.record import LayerMacs, Macs, PointRecord

Arrays = dict[str, np.ndarray]
AUDITED_IMAGES = 16


@dataclass(frozen=True)
class _Evaluator:
    """Evaluates one trained model, the same way every time."""

    method: Method
    model: nn.Module
    data: Data
    layers: tuple[LayerCost, ...]
    run: Run
    context: Context

    def on(self, split_name: str) -> tuple[PointEvaluation, ...]:
        split = self.data.validation if split_name == "validation" else self.data.test.read()
        return evaluate(
            self.method,
            self.model,
            split.to(self.context.device),
            self.data.normalise(self.context.device, self.run.recipe.channels_last),
            CostModel(self.layers, self.context.device),
            self.method.points(self.model),
            self.context.evaluation.batch_size,
        )

    def audit(self) -> tuple[Audit, ...]:
        images = self.data.validation.images[:AUDITED_IMAGES].to(self.context.device)
        normalise = self.data.normalise(self.context.device, self.run.recipe.channels_last)
        costs = CostModel(self.layers, self.context.device)
        return audit(self.method, self.model, normalise(images), self.method.points(self.model), costs)


def measure(
    method: Method, model: nn.Module, data: Data, run: Run, context: Context
) -> tuple[tuple[PointRecord, ...], Arrays]:
    """Evaluate on validation twice, which must agree; audit on validation images; read the test split once.

    Raises ValueError when two evaluations differ, AuditFailed when executed and accounted MACs do.
    """
    evaluator = _Evaluator(method, model, data, static_costs(model, data.shape), run, context)
    validation = evaluator.on("validation")
    _check_same(validation, evaluator.on("validation"))
    audits = evaluator.audit()
    test = evaluator.on("test")
    points = tuple(_point(v, t, a, evaluator.layers) for v, t, a in zip(validation, test, audits, strict=True))
    arrays = {
        f"{result.point}/{name}": array
        for result in test
        for name, array in (
            ("correct", result.correct),
            ("correct5", result.correct5),
            ("macs", result.total_macs),
        )
    }
    return points, arrays


def _check_same(first: Sequence[PointEvaluation], second: Sequence[PointEvaluation]) -> None:
    for one, other in zip(first, second, strict=True):
        if not (np.array_equal(one.correct, other.correct) and np.array_equal(one.macs, other.macs)):
            raise ValueError(
                f'evaluating point "{one.point}" twice gave two answers: '
                f"{(one.correct != other.correct).sum()} images differ in correctness, "
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
