"""Evaluation of somebody's backbone weights, by the same code as a run's."""

from pathlib import Path

from dynbench.backbones import build_backbone
from dynbench.backbones.weights import load_weights
from dynbench.cost import CostModel, static_costs
from dynbench.data import load_data
from dynbench.device import choose_device
from dynbench.evaluate import PointEvaluation, evaluate
from dynbench.method import Point
from dynbench.registry import load
from dynbench.suite.schema import BackboneSpec, DataSpec


def evaluate_weights(
    weights: Path, backbone: BackboneSpec, data: DataSpec, split: str, device: str, batch_size: int
) -> PointEvaluation:
    """Dense evaluation on `split` (validation or test). Raises UserError when weights or data are not right."""
    where = choose_device(device)
    loaded = load_data(data)
    model = build_backbone(backbone, loaded.shape, loaded.num_classes)
    load_weights(model, weights)
    costs = CostModel(static_costs(model, loaded.shape), where)
    images = loaded.test.read() if split == "test" else loaded.validation
    dense = load("dense")
    method = dense(dense.Config())
    normalise = loaded.normalise(where)
    return evaluate(method, model.to(where), images.to(where), normalise, costs, [Point()], batch_size)[0]
