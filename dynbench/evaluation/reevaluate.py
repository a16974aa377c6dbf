"""A finished run's weights, evaluated again: is the result what its record says?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dynbench.backbones import build_backbone
from dynbench.backbones.weights import load_weights
from dynbench.data import load_data
from dynbench.device import choose_device
from dynbench.errors import UserError
from dynbench.evaluation.answers import PointEvaluation
from dynbench.evaluation.trained import Trained
from dynbench.method import Point
from dynbench.record.schema import PointRecord, Record
from dynbench.registry import load_method
from dynbench.suite.schema import BackboneSpec, DataSpec


@dataclass(frozen=True)
class Verified:
    """One operating point on the test split, as recorded and as found now."""

    recorded: PointRecord
    found: PointEvaluation

    @property
    def images(self) -> int:
        """By how many images the numbers of right answers differ."""
        count = len(self.found.correct)
        return abs(int(self.found.correct.sum()) - round(self.recorded.test_top1 * count / 100))

    @property
    def macs(self) -> float:
        """Mean MACs as found, less those recorded."""
        return float(self.found.total_macs.mean()) - self.recorded.macs.mean

    @property
    def same(self) -> bool:
        """Return whether the answers and MACs are those of the record."""
        return not self.images and math.isclose(self.macs + self.recorded.macs.mean, self.recorded.macs.mean)


def verify_weights(
    record: Record, weights: Path, root: Path | None, device: str, batch_size: int
) -> Sequence[Verified]:
    """Evaluate `weights` on the test split as the run did, from what its record says alone; `root` holds the data.

    Raises UserError when the run failed, its method is not installed, or weights or data are not right.
    """
    if record.status != "finished":
        raise UserError(f"{record.run_id} failed, it has no results: {record.error}")
    data = load_data(record.run.data.model_copy(update={"root": root}))
    trained = Trained.restored(
        record.run, weights, data, choose_device(device), record.run.recipe.channels_last, batch_size
    )
    known = {point.name: point for point in record.points}
    found = trained.evaluate(data.test.read(), [point for point in trained.points if point.name in known])
    return [Verified(known[one.point], one) for one in found]


def evaluate_weights(
    weights: Path, backbone: BackboneSpec, data: DataSpec, split: str, device: str, batch_size: int
) -> PointEvaluation:
    """Dense evaluation on `split` (validation or test). Raises UserError when weights or data are not right."""
    loaded = load_data(data)
    model = build_backbone(backbone, loaded.shape, loaded.num_classes)
    load_weights(model, weights)
    dense = load_method("dense")
    where = choose_device(device)
    trained = Trained.of(dense(dense.Config()), model.to(where), loaded, where, batch_size=batch_size)
    return trained.evaluate(loaded.test.read() if split == "test" else loaded.validation, [Point()])[0]
