"""From a trained model to its results: accuracy and MACs per image, evaluated twice, audited, tested once."""

from collections.abc import Sequence

import numpy as np
import torch

from dynbench.cost import LayerCost
from dynbench.data.image_files import Images
from dynbench.data.split import Data
from dynbench.errors import AuditFailed
from dynbench.evaluation.answers import PointEvaluation
from dynbench.evaluation.audit import AUDITED_IMAGES, Audit
from dynbench.evaluation.batch_independence import (
    IMAGES,
    check_alone,
    check_as_evaluated,
    differing,
    other_order,
    other_size,
)
from dynbench.evaluation.trained import Trained
from dynbench.evaluation.unseen_images import drawn
from dynbench.guards.model_changes import kept, steps_are
from dynbench.record.schema import LayerMacs, Macs, PointRecord

Arrays = dict[str, np.ndarray]

TESTED = 100
"""Test images that are asked for in another order."""


def measure(trained: Trained, data: Data, run_id: str) -> tuple[tuple[PointRecord, ...], Arrays]:
    """Evaluate on validation twice, which must agree.

    Read the test split once; audit on images of both, drawn by the run's id.

    Raises ValueError when two evaluations differ, AuditFailed when executed and accounted MACs do, when answers depend
    on the batch or follow made-up labels, when a static method is not, or when the weights change meanwhile. Of several
    processes the first one audits, and has the results; the others have none.
    """
    first = trained.processes.first
    with kept(trained.model, "while it was evaluated"), steps_are(0, "while it was evaluated"):
        validation = trained.evaluate(data.validation)
        _check_same(validation, trained.evaluate(data.validation))
        _check_beside_others(trained, data.validation.images, validation)
    with kept(trained.model, "on the test split"), steps_are(0, "on the test split"):
        tested = data.test.read()
        test = trained.evaluate(tested, with_usage=True)
        _check_beside_others(trained, tested.images, test, TESTED)
    if not first:
        return (), {}
    _check_static(trained, (*validation, *test))
    half = AUDITED_IMAGES // 2
    chosen = drawn(run_id, "validation", len(data.validation), half), drawn(run_id, "test", len(tested), half)
    images = torch.cat([data.validation.images[chosen[0]], tested.images[chosen[1]]])
    with kept(trained.model, "while it was audited"), steps_are(0, "while it was audited"):
        audits = trained.audit(images)
        check_as_evaluated(
            trained, images, audits, [_together(*pair, *chosen) for pair in zip(validation, test, strict=True)]
        )
    points = tuple(_point(v, t, a, trained.costs.layers) for v, t, a in zip(validation, test, audits, strict=True))
    return points, _arrays(validation, test, audits, chosen[0])


def _check_static(trained: Trained, found: Sequence[PointEvaluation]) -> None:
    """Raises AuditFailed when a method that is declared static spends more on one image than on another."""
    for one in found:
        least, most = int(one.total_macs.min()), int(one.total_macs.max())
        if trained.method.static and least != most:
            raise AuditFailed(
                f'point "{one.point}": the method is declared static, and spends {least} MACs on one image and '
                f"{most} on another"
            )


def _together(
    validation: PointEvaluation, test: PointEvaluation, of_validation: list[int], of_test: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Classes (images,) and MACs by kind (images, 3) that the evaluation found of images of both splits."""
    return (
        np.concatenate([validation.answers[of_validation], test.answers[of_test]]),
        np.concatenate([validation.macs[of_validation], test.macs[of_test]]),
    )


def _check_beside_others(
    trained: Trained, images: Images, first: Sequence[PointEvaluation], most: int = IMAGES
) -> None:
    """Ask for up to `most` of `images`, uint8 (n, channels, height, width), in another order and batch size.

    Raises AuditFailed when that changes their answers from those of the `first` time.
    """
    images, points = images.to(trained.device), trained.points
    order = trained.processes.from_first(other_order(len(images))[:most])
    chosen = images[order.to(images.device)]
    again = trained.predict(chosen, points, other_size(trained.batch_size, len(order)))
    for point, one, other in zip(points, first, again, strict=True):
        doubtful = differing(one, other, order)
        if doubtful:
            check_alone(trained, images, doubtful, point)


def _arrays(
    validation: Sequence[PointEvaluation], test: Sequence[PointEvaluation], audits: Sequence[Audit], chosen: list[int]
) -> Arrays:
    arrays = {
        f"{result.point}/{name}": array
        for result in test
        for name, array in (
            ("correct", result.correct),
            ("correct5", result.correct5),
            ("macs", result.total_macs),
        )
    }
    for result in test:
        arrays |= {} if result.usage is None else result.usage.arrays(result.point)
    for one in validation:
        arrays |= {f"{one.point}/val_answers": one.answers, f"{one.point}/val_macs": one.total_macs}
    for audited in audits:
        if len(audited.logits):
            arrays[f"{audited.point}/audit_numbers"] = np.array(chosen)
            arrays[f"{audited.point}/audit_logits"] = audited.logits
    return arrays


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
